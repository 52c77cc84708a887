import pg from "pg";
import { sleep } from "../../src/clock.ts";
import { groupRanges, type SlotRange } from "../../src/reminder/group.ts";
import { type Contender, type ContenderConfig, type Moment, wallMs } from "./contender.ts";

const page = 500;

/**
 * The script that a team has today, written well: a timer, a few connections with a share of the users each, and for
 * each page one statement that reads it and one that logs a row per user and moves the mark. It has no lease, no rescue,
 * no second node, no gate and no intent: when it dies between send and log, a page is sent twice.
 *
 * The page is fenced off, and its endpoints are read as one range: with a plain join Postgres hashes all endpoints anew
 * for each page (14 ms of 50,000 users), and the loop would be two and a half times as slow.
 */
export async function startCronLoop({ databaseUrl, concurrency }: ContenderConfig): Promise<Contender> {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: concurrency });
  pool.on("error", () => undefined);
  await pool.query(`
    create table public.reminder_log (
      moment timestamptz not null, user_number bigint not null, ordinal smallint not null,
      sent_at timestamptz not null, outcome smallint not null,
      primary key (moment, user_number, ordinal));
    create table public.reminder_mark (share int primary key, hash_slot int not null, user_number bigint not null);
    insert into public.reminder_mark select share, 0, 0 from generate_series(0, ${concurrency - 1}) share`);
  let firstSendAtMs = Number.NaN;

  /** a no-op in place of the request */
  function send(users: readonly string[]): void {
    if (users.length > 0 && Number.isNaN(firstSendAtMs)) firstSendAtMs = wallMs();
  }

  async function remindShare(moment: Moment, range: SlotRange, share: number, signal: AbortSignal): Promise<void> {
    const client = await pool.connect();
    try {
      let mark: readonly [slot: number, user: string] = [range.firstSlot, "0"];
      for (;;) {
        signal.throwIfAborted();
        const { rows } = await client.query<[number, string, number, string, string], unknown[]>({
          name: "read",
          rowMode: "array",
          text: `
            with page as materialized (
              select s.hash_slot, s.user_number
              from carillon.subscriptions s
              where s.schedule_id = $4 and s.ended_at is null
                and (s.hash_slot, s.user_number) > ($1, $2) and s.hash_slot <= $3
              order by s.hash_slot, s.user_number
              limit ${page}
            ), near as materialized (
              select e.hash_slot, e.user_number, e.ordinal, e.channel, e.address
              from (select min(hash_slot) as first_slot, max(hash_slot) as last_slot from page) r
              cross join lateral (
                select * from carillon.endpoints e
                where e.hash_slot between r.first_slot and r.last_slot and e.gone_at is null
                offset 0) e)
            select p.hash_slot, p.user_number, e.ordinal, e.channel, e.address
            from page p join near e on e.hash_slot = p.hash_slot and e.user_number = p.user_number
            order by p.hash_slot, p.user_number`,
          values: [...mark, range.lastSlot, moment.scheduleId],
        });
        const last = rows.at(-1);
        if (last === undefined) return;
        const users = rows.map((row) => row[1]);
        send(users);
        mark = [last[0], last[1]];
        await client.query({
          name: "log",
          text: `
            with logged as (
              insert into public.reminder_log (moment, user_number, ordinal, sent_at, outcome)
              select $1::timestamptz, user_number, ordinal, clock_timestamp(), 1
              from unnest($2::bigint[], $3::smallint[]) as u (user_number, ordinal))
            update public.reminder_mark set hash_slot = $4, user_number = $5 where share = $6`,
          values: [
            new Date(moment.dueAtMs).toISOString(),
            `{${users.join(",")}}`,
            `{${rows.map((row) => row[2]).join(",")}}`,
            ...mark,
            share,
          ],
        });
        if (rows.length < page) return;
      }
    } finally {
      client.release();
    }
  }

  return {
    async enqueue() {
      firstSendAtMs = Number.NaN;
      // connected before the instant, as the others are
      const clients = await Promise.all(Array.from({ length: concurrency }, () => pool.connect()));
      for (const client of clients) client.release();
    },

    async finish(moment, signal) {
      await sleep(moment.dueAtMs - wallMs(), signal);
      await Promise.all(groupRanges(concurrency).map((range, share) => remindShare(moment, range, share, signal)));
      return { firstSendAtMs, recordedAtMs: wallMs() };
    },

    async audit({ dueAtMs }) {
      const { rows } = await pool.query<{ recorded: number; bytes: number }>(
        `select (select count(*)::int from public.reminder_log where moment = $1) as recorded,
           pg_total_relation_size('public.reminder_log')::float8 as bytes`,
        [new Date(dueAtMs).toISOString()],
      );
      return { recorded: rows[0]?.recorded ?? 0, ledgerBytes: rows[0]?.bytes ?? 0 };
    },

    async [Symbol.asyncDispose]() {
      await pool.end();
    },
  };
}
