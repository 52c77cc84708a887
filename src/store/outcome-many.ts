import { fenceColumns } from "./claim.ts";
import { byKey, type Executor, type Statement } from "./executor.ts";
import type { OutcomeRecord } from "./outcome.ts";

/** What became of a small group's chunk: all its members, each simply accepted or failed without more to say. */
export type PlainRecord = OutcomeRecord & { readonly indexes: null; readonly exceptions: null };

export function isPlain(record: OutcomeRecord): record is PlainRecord {
  return record.indexes === null && record.exceptions === null;
}

/*
 * Outcomes of many groups in one statement, each hanging on its own fence as in outcome.ts, where the interleavings are.
 * Rows are locked first, in the order of their key, so that two of these can't deadlock. Unlike an intent this waits for
 * a row that is locked: outcomes must not be passed over. Planned once, as in intent-many.ts.
 */
const recordManyStatement: Statement = {
  name: "record_many",
  text: `
    with asked as materialized (
      select * from unnest($1::bigint[], $2::int[], $3::int[], $4::uuid[], $5::date[], $6::int[], $7::int[], $8::bytea[],
          $9::text[], $10::int[], $11::int[], $12::int[], $13::int[], $14::int[]) with ordinality
        as a (bucket_id, group_number, epoch, claim_token, due_day, chunk_number, part, codes, after_due_ms, delivered,
          failed, suppressed, expired, in_doubts, nth)
    ), wanted as materialized (
      -- a group may have several records here, and a row is updated once a statement
      select bucket_id, group_number, epoch, claim_token, sum(delivered)::int as delivered, sum(failed)::int as failed,
        sum(suppressed)::int as suppressed, sum(expired)::int as expired, sum(in_doubts)::int as in_doubts
      from asked
      group by bucket_id, group_number, epoch, claim_token
    ), held as materialized (
      select w.*
      from (select * from wanted order by bucket_id, group_number) w
      cross join lateral (
        select from carillon.groups g
        where g.bucket_id = w.bucket_id and g.group_number = w.group_number
          and g.epoch = w.epoch and g.claim_token = w.claim_token
        for no key update of g
      ) g
    ), fence as (
      update carillon.groups g
      set delivered = g.delivered + h.delivered,
          failed = g.failed + h.failed,
          suppressed = g.suppressed + h.suppressed,
          expired = g.expired + h.expired,
          in_doubts = g.in_doubts + h.in_doubts,
          lease_until = clock_timestamp() + $15::int * interval '1 millisecond'
      from held h
      where ${byKey("g.bucket_id", "h.bucket_id")} and ${byKey("g.group_number", "h.group_number")}
        and g.epoch = h.epoch and g.claim_token = h.claim_token
      returning g.bucket_id, g.group_number, g.epoch, g.claim_token
    ), stands as materialized (
      select a.* from asked a join fence f using (bucket_id, group_number, epoch, claim_token)
    ), recorded as (
      insert into carillon.outcomes (due_day, bucket_id, group_number, chunk_number, epoch, part, recorded_at,
        codes, after_due_ms)
      select s.due_day, s.bucket_id, s.group_number, s.chunk_number, s.epoch, s.part, clock_timestamp(),
        s.codes, s.after_due_ms::int[]
      from stands s
      on conflict do nothing
    )
    select nth::int from stands`,
};

/** @returns one for each record, in order: false if its fence refused, as `recordOutcomes` */
export async function recordMany(executor: Executor, records: readonly PlainRecord[]): Promise<readonly boolean[]> {
  const { rows } = await executor.query<{ nth: number }>({
    ...recordManyStatement,
    values: [
      ...fenceColumns(records.map(({ fence }) => fence)),
      records.map(({ dueDay }) => dueDay),
      records.map(({ chunkNumber }) => chunkNumber),
      records.map(({ part }) => part),
      records.map(({ codes }) => Buffer.from(codes.buffer, codes.byteOffset, codes.byteLength)),
      records.map(({ afterDueMs }) => `{${afterDueMs.join(",")}}`),
      records.map(({ tally }) => tally.delivered),
      records.map(({ tally }) => tally.failed),
      records.map(({ tally }) => tally.suppressed),
      records.map(({ tally }) => tally.expired),
      records.map(({ tally }) => tally.inDoubts),
      Math.max(...records.map(({ leaseMs }) => leaseMs)),
    ],
  });
  const held = new Set(rows.map((row) => row.nth));
  return records.map((_, index) => held.has(index + 1));
}
