import { outcomeCodes } from "../reminder/outcome-code.ts";
import type { Executor } from "./executor.ts";

/*
 * The gate: who is not to be sent to, though a moment of theirs has come. Asked of each chunk inside the statement of its
 * intent, and ahead of the moment by what explains it (foresight.ts): one definition for both.
 */

/** Whether a moment that is due at `dueAt` is one of the subscription's: who joined later, or left before, has no part. */
export const hasPart = (subscription: string, dueAt: string) =>
  `${subscription}.subscribed_at <= ${dueAt} and (${subscription}.ended_at is null or ${subscription}.ended_at > ${dueAt})`;

/** Where the user at a position can be reached, as `e`; null for nowhere. */
export const endpointsOf = (position: string) => `
  left join lateral (
    select e.ordinal, e.channel, e.destination_id, e.address, e.zone, e.locale
    from carillon.endpoints e
    where e.hash_slot = ${position}.hash_slot and e.user_number = ${position}.user_number and e.gone_at is null
    order by e.ordinal
    limit 20
  ) e on true`;

/** How the gate is asked: of whom, and as of when. */
interface Asking {
  /** a CTE with hash_slot and user_number; where there are several groups, with nth and topic_id */
  readonly page: string;
  /** SQL: most users are members of the page, so that what users have set is read as one range; null: never */
  readonly dense?: string | null;
  /** the page is of several groups; each is known by nth, here and in `held` */
  readonly many?: boolean;
  /** the time that mutes and the suppression list are judged by, in SQL; the intent's is the clock as it reads it */
  readonly at?: string;
  /** false: preferences, quiet hours and the suppression list are left out, see `anyWishes` */
  readonly wishes?: boolean;
}

/*
 * A plan that knows of wishes (preferences, quiet hours) and of the suppression list costs an intent of 500 a quarter of
 * a millisecond more than the 1.5 that it takes, though nobody has any: it has three times as many nodes to set up. So an
 * intent has two texts. The one without is refused, in its own snapshot, where there is any such row; nothing hangs on
 * which of the two is tried first.
 */
/** SQL: whether anybody has set anything, or is on the list. */
export const anyWishes = `(exists (select from carillon.preferences) or exists (select from carillon.quiet_hours)
      or exists (select from carillon.suppressions))`;

/** Where the last answer told of wishes: there the text that knows of them is asked first. A hint, never a decision. */
const wishful = new WeakSet<Executor>();

/**
 * Asks without wishes, and if that is refused, with them.
 *
 * @param ask null: refused, and nothing is written; `wishes`, of the text that knows of them: what `anyWishes` says
 * @param first the text without is known to be refused: the topic is content with the first endpoint (reach.ts)
 */
export async function askEither<T>(
  executor: Executor,
  ask: (heeding: boolean) => Promise<{ readonly answer: T; readonly wishes: boolean } | null>,
  first = false,
): Promise<T | null> {
  if (!first && !wishful.has(executor)) {
    const plain = await ask(false);
    if (plain !== null) return plain.answer;
  }
  const heeded = await ask(true);
  if (heeded === null) return null;
  if (heeded.wishes) wishful.add(executor);
  else wishful.delete(executor);
  return heeded.answer;
}

/** Whose a row is: the user's, in each of several groups. */
const keyOf = (row: string, { many = false }: Asking) =>
  many ? `${row}.nth, ${row}.user_number` : `${row}.user_number`;

/**
 * What members of a page have set for a topic `h` of `held` or for all topics, as rows `t`. Where most users are members,
 * one range of the key is shorter than a look-up each; where few are, a range would hold everybody between them. Where
 * nobody has set anything, one look tells.
 */
const setBy = (table: string, columns: string, asking: Asking) => {
  const { page, dense = null, many = false } = asking;
  const perMember = `
      select ${many ? "h.nth, " : ""}${columns}
      from held h
      join ${page} p on ${many ? "p.nth = h.nth" : "true"}
      cross join lateral (
        select * from carillon.${table} t
        where t.hash_slot = p.hash_slot and t.user_number = p.user_number and t.topic_id in (0, h.topic_id)
        offset 0
      ) t
      where exists (select from carillon.${table})`;
  if (dense === null) return perMember;
  return `
      select ${columns}
      from held h
      cross join span r
      cross join lateral (
        select * from carillon.${table} t
        where t.hash_slot between r.first_slot and r.last_slot and t.topic_id in (0, h.topic_id)
        offset 0
      ) t
      where ${dense}
      union all ${perMember} and not ${dense}`;
};

/** The range of a page. */
const span = ({ page }: Asking) => `
  span as materialized (
    select min(hash_slot) as first_slot, max(hash_slot) as last_slot from ${page}
  )`;

const muted = ({ page, many = false, at = "carillon.clock()" }: Asking) =>
  many
    ? `
  muted as materialized (
    select p.nth, p.user_number
    from ${page} p
    cross join lateral (
      select from carillon.mutes m
      where m.hash_slot = p.hash_slot and m.user_number = p.user_number and m.topic_id in (0, p.topic_id)
        and m.muted_until > ${at}
      limit 1
    ) m
    where exists (select from carillon.mutes)
  )`
    : `
  muted as materialized (
    select m.user_number
    from carillon.mutes m
    where m.hash_slot between (select first_slot from span) and (select last_slot from span)
      and m.topic_id in (0, (select topic_id from held))
      and m.muted_until > ${at}
  )`;

/** The list knows outside ids; a hash slot has few of them, and who they are is looked up for these alone. */
const suppressed = ({ page, dense = null, at = "carillon.clock()" }: Asking) => {
  const listed = (slots: string) => `
      cross join lateral (
        select x.user_id from carillon.suppressions x
        where x.hash_slot ${slots} and (x.ends_at is null or x.ends_at > ${at})
        offset 0
      ) x
      cross join lateral (select u.user_number from carillon.users u where u.user_id = x.user_id limit 1) u`;
  const perMember = `
      select u.user_number
      from ${page} p ${listed("= p.hash_slot")}
      where u.user_number = p.user_number and exists (select from carillon.suppressions)`;
  return `
  on_list as materialized (${
    dense === null
      ? perMember
      : `
      select u.user_number
      from span r ${listed("between r.first_slot and r.last_slot")}
      where ${dense}
      union all ${perMember} and not ${dense}`
  }
  )`;
};

/** What holds for a user and channel ('': all that are not named): the most specific preference, topic before channel. */
const choices = (asking: Asking) => `
  preferred as materialized (${setBy("preferences", "t.user_number, t.topic_id, t.channel, t.allowed", asking)}
  ), choices as materialized (
    select distinct on (${keyOf("c", asking)}, c.channel) ${keyOf("c", asking)}, c.channel, f.allowed
    from (
      select ${keyOf("f", asking)}, f.channel from preferred f
      union
      select ${keyOf("f", asking)}, '' from preferred f
    ) c
    join preferred f on (${keyOf("f", asking)}) = (${keyOf("c", asking)}) and f.channel in ('', c.channel)
    order by ${keyOf("c", asking)}, c.channel, f.topic_id = 0, f.channel = ''
  )`;

/**
 * Who has quiet hours just now, until when, and whether that is before the expiry. In the zone of the user, which stands
 * beside the endpoint; else (none, or one that Postgres does not know) in that of the schedule; else in UTC.
 */
const quiet = (asking: Asking) => `
  wanting_quiet as materialized (${setBy("quiet_hours", "t.hash_slot, t.user_number, t.starts_at, t.ends_at", asking)}
  ), quiet as materialized (
    select ${keyOf("q", asking)}, q.hash_slot, max(q.until) as until, max(q.until) < min(q.expires_at) as comes_again
    from (
      select ${keyOf("w", asking)}, w.hash_slot, h.expires_at,
        carillon.quiet_until(w.starts_at, w.ends_at, z.zone, h.asked_at) as until
      from wanting_quiet w
      join held h on ${asking.many ? "h.nth = w.nth" : "true"} and not h.ignores_quiet_hours
      cross join lateral (
        select e.zone from carillon.endpoints e
        where e.hash_slot = w.hash_slot and e.user_number = w.user_number and e.gone_at is null
        order by e.ordinal
        limit 1
      ) e
      cross join lateral (
        select coalesce(carillon.known_zone(e.zone), carillon.known_zone(carillon.schedule_zone(h.schedule_id)), 'UTC')
          as zone
        offset 0
      ) z
      offset 0
    ) q
    where q.until is not null
    group by ${keyOf("q", asking)}, q.hash_slot
  )`;

/**
 * What the gate asks of many members at once, as CTEs. Needs `held`, the groups: topic_id, schedule_id, expires_at,
 * asked_at (the clock as it was read), ignores_quiet_hours.
 */
export const askedByGate = (asking: Asking) =>
  `${asking.many ? "" : `${span(asking)},`} ${muted(asking)}, disabled as materialized (
    select destination_id from carillon.destinations where disabled_at is not null
  )${asking.wishes === false ? "" : wishedBy(asking)}`;

const wishedBy = (
  asking: Asking,
) => `, ${suppressed(asking)}, ${choices(asking)}, ${quiet(asking)}, singled_out as materialized (
    select user_number from on_list
    union all select user_number from muted
    union all select user_number from choices where not allowed
    union all select user_number from quiet
  )`;

/**
 * Who is not to be sent to (now), and why: an outcome code (src/reminder/outcome-code.ts), 0 for none. The first reason
 * that holds is the one recorded: quiet hours come last, so that only what would be sent is held. Needs the CTEs of
 * `askedByGate`, and of `member` has_left, user_number, ordinal, channel, destination_id (and nth, where there are many).
 *
 * Most members are not `singled_out` by anybody, and are asked about that alone.
 */
export const gate = (member: string, asking: Pick<Asking, "many" | "wishes"> = {}) => {
  const key = keyOf(member, { page: "", ...asking });
  const columns = asking.many ? "nth, user_number" : "user_number";
  const channel = `coalesce(${member}.channel, '')`;
  if (asking.wishes === false) {
    return `
  case
    when ${member}.has_left then ${outcomeCodes.ended}
    when (${key}) in (select ${columns} from muted) then ${outcomeCodes.muted}
    when ${member}.ordinal is null then ${outcomeCodes.noEndpoint}
    when ${member}.destination_id in (select destination_id from disabled) then ${outcomeCodes.destinationDisabled}
    else 0
  end`;
  }
  return `
  case
    when ${member}.has_left then ${outcomeCodes.ended}
    when ${member}.user_number in (select user_number from singled_out) then
      case
        when ${member}.user_number in (select user_number from on_list) then ${outcomeCodes.onSuppressionList}
        when (${key}) in (select ${columns} from muted) then ${outcomeCodes.muted}
        when (${key}, ${channel}) in (select ${columns}, channel from choices where not allowed)
          or (${key}, '') in (select ${columns}, channel from choices where not allowed)
          and (${key}, ${channel}) not in (select ${columns}, channel from choices)
          then ${outcomeCodes.optedOut}
        when ${member}.ordinal is null then ${outcomeCodes.noEndpoint}
        when ${member}.destination_id in (select destination_id from disabled) then ${outcomeCodes.destinationDisabled}
        when (${key}) in (select ${columns} from quiet where comes_again) then ${outcomeCodes.heldByQuietHours}
        when (${key}) in (select ${columns} from quiet) then ${outcomeCodes.quietHours}
        else 0
      end
    when ${member}.ordinal is null then ${outcomeCodes.noEndpoint}
    when ${member}.destination_id in (select destination_id from disabled) then ${outcomeCodes.destinationDisabled}
    else 0
  end`;
};

/** When what quiet hours `q` hold is tried next, on real time: past their end, so that no rounding brings it back before. */
export const nextTryAfter = (q: string) => `carillon.real_time(${q}.until) + interval '1 millisecond'`;

/**
 * Who has left: their subscription has ended, and they did not just move on. Who moved is still sent to where the moment
 * came before they did, since the place they moved to begins behind it; unless they have left there, too. (CASE, so that
 * only the rows of those who moved are looked at twice; OFFSET 0, so that these are looked up and not found in a hash of all.)
 *
 * @param subscription a row of carillon.subscriptions
 */
export const hasLeft = (subscription: string) => `
  case
    when ${subscription}.ended_at is null then false
    when ${subscription}.moved_to is null then true
    else not exists (
      select from carillon.subscriptions now_at
      where now_at.schedule_id = ${subscription}.moved_to and now_at.hash_slot = ${subscription}.hash_slot
        and now_at.user_number = ${subscription}.user_number and now_at.ended_at is null
      offset 0)
  end`;
