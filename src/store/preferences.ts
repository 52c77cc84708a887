import { CarillonError } from "../errors.ts";
import type { Database } from "./database.ts";
import { type Executor, inTransaction } from "./executor.ts";
import { findTopics } from "./topics.ts";
import { findUser, takeUser } from "./users.ts";

/** Whether a user wants a topic on a channel. The most specific one holds, topic before channel; without any: yes. */
export interface Preference {
  /** null: all topics */
  readonly topic: string | null;
  /** null: all channels */
  readonly channel: string | null;
  readonly allowed: boolean;
}

/** When a user wants silence, every day, in their own zone. What is due then is held until the end. */
export interface QuietHours {
  /** null: all topics */
  readonly topic: string | null;
  /** wall time, "22:00" or "22:00:30" */
  readonly from: string;
  /** as `from`; not after it: on the next day */
  readonly to: string;
}

export interface Preferences {
  readonly preferences: readonly Preference[];
  readonly quietHours: readonly QuietHours[];
}

/**
 * Replaces what a user wants, as a whole: an intent sees all of it or nothing. What quiet hours hold already is asked
 * about anew at the end that it waits for.
 *
 * @throws unknown_user; unknown_topic; user_zone_missing for quiet hours of a user whose zone is not known
 */
export async function savePreferences(db: Database, userId: string, wanted: Preferences): Promise<Preferences> {
  await inTransaction(db, async (client) => {
    // the user's row is taken, so that two of these come one after the other, and so does a change of zone
    const user = await takeUser(client, userId, false);
    if (wanted.quietHours.length > 0 && user.zone === null) {
      throw new CarillonError("user_zone_missing", "Quiet hours are in the user's own zone: set it first.", {
        pointer: "/quietHours",
      });
    }
    const topicIds = await topicIdsOf(client, wanted);
    const of = [user.hashSlot, user.userNumber];
    await client.query("delete from carillon.preferences where hash_slot = $1 and user_number = $2", of);
    await client.query("delete from carillon.quiet_hours where hash_slot = $1 and user_number = $2", of);
    await client.query(
      `insert into carillon.preferences (hash_slot, user_number, topic_id, channel, allowed)
       select $1, $2, p.* from unnest($3::int[], $4::text[], $5::boolean[]) as p`,
      [
        ...of,
        wanted.preferences.map(({ topic }) => topicIds(topic)),
        wanted.preferences.map(({ channel }) => channel ?? allChannels),
        wanted.preferences.map(({ allowed }) => allowed),
      ],
    );
    await client.query(
      `insert into carillon.quiet_hours (hash_slot, user_number, topic_id, starts_at, ends_at)
       select $1, $2, q.* from unnest($3::int[], $4::time[], $5::time[]) as q`,
      [
        ...of,
        wanted.quietHours.map(({ topic }) => topicIds(topic)),
        wanted.quietHours.map(({ from }) => from),
        wanted.quietHours.map(({ to }) => to),
      ],
    );
  });
  return readPreferences(db, userId);
}

/**
 * What a user wants, what is said of all topics first.
 *
 * @throws unknown_user
 */
export async function readPreferences(db: Database, userId: string): Promise<Preferences> {
  const user = await findUser(db.pool, userId);
  const of = [user.hashSlot, user.userNumber];
  const [{ rows: preferences }, { rows: quietHours }] = await Promise.all([
    db.pool.query<Preference>(
      `select t.name as topic, nullif(p.channel, '${allChannels}') as channel, p.allowed
       from carillon.preferences p left join carillon.topics t using (topic_id)
       where p.hash_slot = $1 and p.user_number = $2
       order by p.topic_id <> ${allTopics}, t.name, p.channel`,
      of,
    ),
    db.pool.query<QuietHours>(
      `select t.name as topic, regexp_replace(q.starts_at::text, ':00$', '') as "from",
         regexp_replace(q.ends_at::text, ':00$', '') as "to"
       from carillon.quiet_hours q left join carillon.topics t using (topic_id)
       where q.hash_slot = $1 and q.user_number = $2
       order by q.topic_id <> ${allTopics}, t.name`,
      of,
    ),
  ]);
  return { preferences, quietHours };
}

/** In the tables, topic 0 stands for all topics and '' for all channels. */
const allTopics = 0;
const allChannels = "";

/** @throws unknown_topic */
async function topicIdsOf(
  executor: Executor,
  { preferences, quietHours }: Preferences,
): Promise<(topic: string | null) => number> {
  const named = [...preferences, ...quietHours].flatMap(({ topic }) => topic ?? []);
  const found = await findTopics(executor, named);
  const missing = (rows: readonly { readonly topic: string | null }[], name: string) => {
    const index = rows.findIndex(({ topic }) => topic !== null && !found.has(topic));
    if (index === -1) return;
    const detail = `There is no topic named ${JSON.stringify(rows[index]?.topic)}.`;
    throw new CarillonError("unknown_topic", detail, { pointer: `/${name}/${index}/topic` });
  };
  missing(preferences, "preferences");
  missing(quietHours, "quietHours");
  return (topic) => (topic === null ? allTopics : (found.get(topic)?.topicId ?? allTopics));
}
