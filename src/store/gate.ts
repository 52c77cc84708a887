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

const disabled = `
  disabled as materialized (
    select destination_id from carillon.destinations where disabled_at is not null
  )`;

/**
 * What the gate asks of many members at once: CTEs `muted` (the users of `page` that are muted, for the topic of the
 * CTE `held` or for all) and `disabled` (destinations that are switched off).
 *
 * @param at the time that mutes are judged by, in SQL; the intent's is the clock as it reads it
 */
export const mutedIn = (page: string, at = "carillon.clock()") => `
  muted as materialized (
    select m.user_number
    from carillon.mutes m
    where m.hash_slot between (select min(hash_slot) from ${page}) and (select max(hash_slot) from ${page})
      and m.topic_id in (0, (select topic_id from held))
      and m.muted_until > ${at}
  ), ${disabled}`;

/**
 * Who is not to be sent to, and why: an outcome code (src/reminder/outcome-code.ts), 0 for none. The first reason that
 * holds is the one recorded. Needs the CTEs of `mutedIn`, and of `member` has_left, user_number, ordinal, destination_id.
 */
export const gate = (member: string, muted = `${member}.user_number in (select user_number from muted)`) => `
  case
    when ${member}.has_left then 30
    when ${muted} then 32
    when ${member}.ordinal is null then 33
    when ${member}.destination_id in (select destination_id from disabled) then 34
    else 0
  end`;

/** As `mutedIn`, for a `page` of several groups, each row with its own topic_id: `muted` has the pairs that are muted. */
export const mutedOfMany = (page: string) => `
  muted as materialized (
    select p.nth, p.user_number
    from ${page} p
    cross join lateral (
      select from carillon.mutes m
      where m.hash_slot = p.hash_slot and m.user_number = p.user_number and m.topic_id in (0, p.topic_id)
        and m.muted_until > carillon.clock()
      limit 1
    ) m
  ), ${disabled}`;

/** As `gate`, with `mutedOfMany`. */
export const gateOfMany = (member: string) =>
  gate(member, `(${member}.nth, ${member}.user_number) in (select nth, user_number from muted)`);

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
