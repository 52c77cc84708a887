import { type Selectable, sql } from "kysely";
import { CarillonError, throwAny } from "../errors.ts";
import { faultsIn } from "../reminder/message-check.ts";
import { codeOf, type Database, type DB } from "./database.ts";
import type { Executor } from "./executor.ts";

export type DeliveryMode = "at_least_once" | "at_most_once";
export type CatchUpPolicy = "skip" | "latest" | "all";
/** high: shown at once, on a phone that sleeps, too; normal: whenever that costs the phone little */
export type Priority = "high" | "normal";

/** all: to all endpoints of a user; first: to the first that accepts */
export type Reach = "all" | "first";

/** What a topic says in another language; what is left out is said as in the topic's own. */
export interface Variant {
  readonly title?: string | undefined;
  readonly body?: string | undefined;
  readonly data?: unknown;
  readonly image?: string | null | undefined;
  readonly sound?: string | null | undefined;
  readonly link?: string | null | undefined;
}

/** A kind of reminder: its message and its policies. */
export interface Topic {
  readonly topicId: number;
  readonly name: string;
  readonly title: string;
  readonly body: string;
  readonly data: unknown;
  readonly image: string | null;
  readonly sound: string | null;
  readonly link: string | null;
  /** the language of these texts, a canonical language tag */
  readonly locale: string;
  /** by language tag */
  readonly variants: Readonly<Record<string, Variant>> | null;
  readonly priority: Priority;
  readonly deliveryMode: DeliveryMode;
  readonly expiresAfterMs: number;
  readonly catchUp: CatchUpPolicy;
  /** preset; null: by population */
  readonly groupCount: number | null;
  /** a moment's groups are released evenly over so long; 0: all at once */
  readonly spreadMs: number;
  /** who moves gets a slot (and offset) of one local date once; null: where the rule is of a timetable */
  readonly oncePerLocalDay: boolean | null;
  /** sent at its moment even in a user's quiet hours */
  readonly ignoresQuietHours: boolean;
  readonly reach: Reach;
  /** where reach is `first`, the channels in the order in which they are tried; those not named come last */
  readonly channelOrder: readonly string[];
  readonly pausedAt: Date | null;
  readonly version: number;
  readonly updatedAt: Date;
}

/** What can be set; what is left out keeps its value, or takes the schema's default in a new topic. */
export interface TopicSettings {
  readonly title?: string | undefined;
  readonly body?: string | undefined;
  /** any JSON; null takes it away */
  readonly data?: unknown;
  readonly image?: string | null | undefined;
  readonly sound?: string | null | undefined;
  readonly link?: string | null | undefined;
  readonly locale?: string | undefined;
  /** replaced as a whole */
  readonly variants?: Readonly<Record<string, Variant>> | null | undefined;
  readonly priority?: Priority | undefined;
  readonly deliveryMode?: DeliveryMode | undefined;
  /** 1,000 to 604,800,000 */
  readonly expiresAfterMs?: number | undefined;
  readonly catchUp?: CatchUpPolicy | undefined;
  /** at least 2 */
  readonly groupCount?: number | null | undefined;
  /** 0 to 3,600,000 */
  readonly spreadMs?: number | undefined;
  readonly oncePerLocalDay?: boolean | null | undefined;
  readonly ignoresQuietHours?: boolean | undefined;
  readonly reach?: Reach | undefined;
  /** up to 20, each once; replaced as a whole */
  readonly channelOrder?: readonly string[] | undefined;
}

/** @throws name_taken, bad_template */
export async function createTopic(db: Database, name: string, settings: TopicSettings): Promise<Topic> {
  throwAny(faultsIn(settings));
  try {
    const row = await db.kysely
      .insertInto("topics")
      .values({ name, ...columnsOf(settings) })
      .returningAll()
      .executeTakeFirstOrThrow();
    return topicOf(row);
  } catch (error) {
    throw asNameTaken(error, "topic", name);
  }
}

/** @throws not_found */
export async function readTopic(db: Database, name: string): Promise<Topic> {
  const row = await db.kysely.selectFrom("topics").selectAll().where("name", "=", name).executeTakeFirst();
  if (row === undefined) throw noTopic(name);
  return topicOf(row);
}

/** Topics in the order of their names, beginning behind `after`. */
export async function listTopics(db: Database, page: { after: string | null; limit: number }): Promise<Topic[]> {
  let query = db.kysely.selectFrom("topics").selectAll().orderBy("name").limit(page.limit);
  if (page.after !== null) query = query.where("name", ">", page.after);
  return (await query.execute()).map(topicOf);
}

/**
 * Changes a topic. Moments that are being sent keep what they began with; its version tells the two apart.
 *
 * @throws not_found, bad_template
 */
export async function patchTopic(db: Database, name: string, settings: TopicSettings): Promise<Topic> {
  throwAny(faultsIn(settings));
  const row = await db.kysely
    .updateTable("topics")
    .set({ ...columnsOf(settings), version: sql`version + 1`, updated_at: sql`clock_timestamp()` })
    .where("name", "=", name)
    .returningAll()
    .executeTakeFirst();
  if (row === undefined) throw noTopic(name);
  return topicOf(row);
}

/** What a subscription needs to know of its topic. */
export interface TopicRef {
  readonly topicId: number;
  readonly name: string;
  readonly paused: boolean;
  /** as in Topic */
  readonly oncePerLocalDay: boolean | null;
}

/** The topics with these names; a name that is missing in the result is unknown. */
export async function findTopics(executor: Executor, names: readonly string[]): Promise<Map<string, TopicRef>> {
  const { rows } = await executor.query<{ topic_id: number; name: string; paused: boolean; once: boolean | null }>(
    `select topic_id, name, paused_at is not null as paused, once_per_local_day as once
     from carillon.topics where name = any($1::text[])`,
    [names],
  );
  return new Map(
    rows.map(({ topic_id: topicId, name, paused, once }) => [name, { topicId, name, paused, oncePerLocalDay: once }]),
  );
}

/** A unique violation becomes `name_taken`; anything else stays what it is. */
export function asNameTaken(error: unknown, noun: string, name: string): unknown {
  if (codeOf(error) !== "23505") return error;
  return new CarillonError("name_taken", `There already is a ${noun} named ${JSON.stringify(name)}.`, {
    pointer: "/name",
    cause: error,
  });
}

function columnsOf(settings: TopicSettings) {
  const { title, body, data, image, sound, link, locale, variants, priority } = settings;
  const { deliveryMode, expiresAfterMs, catchUp, groupCount, spreadMs, oncePerLocalDay, ignoresQuietHours } = settings;
  const { reach, channelOrder } = settings;
  return {
    ...(title === undefined ? {} : { title }),
    ...(body === undefined ? {} : { body }),
    ...(data === undefined ? {} : { data: data === null ? null : JSON.stringify(data) }),
    ...(image === undefined ? {} : { image }),
    ...(sound === undefined ? {} : { sound }),
    ...(link === undefined ? {} : { link }),
    ...(locale === undefined ? {} : { locale }),
    ...(variants === undefined ? {} : { variants: variants === null ? null : JSON.stringify(variants) }),
    ...(priority === undefined ? {} : { priority }),
    ...(deliveryMode === undefined ? {} : { delivery_mode: deliveryMode }),
    ...(expiresAfterMs === undefined ? {} : { expires_after_ms: expiresAfterMs }),
    ...(catchUp === undefined ? {} : { catch_up: catchUp }),
    ...(groupCount === undefined ? {} : { group_count: groupCount }),
    ...(spreadMs === undefined ? {} : { spread_ms: spreadMs }),
    ...(oncePerLocalDay === undefined ? {} : { once_per_local_day: oncePerLocalDay }),
    ...(ignoresQuietHours === undefined ? {} : { ignores_quiet_hours: ignoresQuietHours }),
    ...(reach === undefined ? {} : { reach }),
    ...(channelOrder === undefined ? {} : { channel_order: [...channelOrder] }),
  };
}

/** The columns of free text are held to these words by checks in the schema; variants to their form by who saves them. */
function topicOf(row: Selectable<DB["topics"]>): Topic {
  return {
    topicId: row.topic_id,
    name: row.name,
    title: row.title,
    body: row.body,
    data: row.data,
    image: row.image,
    sound: row.sound,
    link: row.link,
    locale: row.locale,
    variants: row.variants as Topic["variants"],
    priority: row.priority as Priority,
    deliveryMode: row.delivery_mode as DeliveryMode,
    expiresAfterMs: row.expires_after_ms,
    catchUp: row.catch_up as CatchUpPolicy,
    groupCount: row.group_count,
    spreadMs: row.spread_ms,
    oncePerLocalDay: row.once_per_local_day,
    ignoresQuietHours: row.ignores_quiet_hours,
    reach: row.reach as Reach,
    channelOrder: row.channel_order,
    pausedAt: row.paused_at,
    version: row.version,
    updatedAt: row.updated_at,
  };
}

function noTopic(name: string): CarillonError {
  return new CarillonError("not_found", `There is no topic named ${JSON.stringify(name)}.`);
}
