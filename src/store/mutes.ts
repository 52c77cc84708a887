import { CarillonError } from "../errors.ts";
import type { Database } from "./database.ts";
import type { Executor } from "./executor.ts";
import { findTopics } from "./topics.ts";
import { findUser } from "./users.ts";

export interface Mute {
  /** null: all topics */
  readonly topic: string | null;
  /** null: until it is taken back */
  readonly until: Date | null;
}

/** In the table, topic 0 stands for all topics and infinity for no end. */
const allTopics = 0;

/**
 * Silences a topic, or all of them, for a user. Muting again replaces the time.
 *
 * @param mute.until until when nothing is sent
 * @throws unknown_user, not_found for the topic
 */
export async function saveMute(db: Database, userId: string, mute: Mute): Promise<Mute> {
  const user = await findUser(db.pool, userId);
  const topicId = await topicIdOf(db.pool, mute.topic);
  await db.pool.query(
    `insert into carillon.mutes (hash_slot, user_number, topic_id, muted_until) values ($1, $2, $3, $4)
     on conflict (hash_slot, user_number, topic_id) do update set muted_until = excluded.muted_until`,
    [user.hashSlot, user.userNumber, topicId, mute.until?.toISOString() ?? "infinity"],
  );
  return mute;
}

/**
 * Takes a mute back; without one, nothing changes.
 *
 * @param topic null: the mute of all topics (those of single topics stay)
 * @throws unknown_user, not_found for the topic
 */
export async function removeMute(db: Database, userId: string, topic: string | null): Promise<void> {
  const user = await findUser(db.pool, userId);
  const topicId = await topicIdOf(db.pool, topic);
  await db.pool.query("delete from carillon.mutes where hash_slot = $1 and user_number = $2 and topic_id = $3", [
    user.hashSlot,
    user.userNumber,
    topicId,
  ]);
}

/**
 * A user's mutes that have not run out, that of all topics first.
 *
 * @throws unknown_user
 */
export async function listMutes(db: Database, userId: string): Promise<Mute[]> {
  const user = await findUser(db.pool, userId);
  const { rows } = await db.pool.query<{ topic: string | null; until: Date | null }>(
    `select t.name as topic, nullif(m.muted_until, 'infinity') as until
     from carillon.mutes m left join carillon.topics t using (topic_id)
     where m.hash_slot = $1 and m.user_number = $2 and m.muted_until > carillon.clock()
     order by m.topic_id <> ${allTopics}, t.name`,
    [user.hashSlot, user.userNumber],
  );
  return rows;
}

async function topicIdOf(executor: Executor, topic: string | null): Promise<number> {
  if (topic === null) return allTopics;
  const found = (await findTopics(executor, [topic])).get(topic);
  if (found === undefined) throw new CarillonError("not_found", `There is no topic named ${JSON.stringify(topic)}.`);
  return found.topicId;
}
