import type { Executor } from "./executor.ts";
import type { OutcomeRecord } from "./outcome.ts";

/** What became of a small group's chunk: all its members, each simply accepted or failed without more to say. */
export type PlainRecord = OutcomeRecord & { readonly indexes: null; readonly exceptions: null };

export function isPlain(record: OutcomeRecord): record is PlainRecord {
  return record.indexes === null && record.exceptions === null;
}

/*
 * Outcomes of many groups in one statement, each hanging on its own fence as in outcome.ts, where the interleavings are.
 * Rows are locked first, in the order of their key, so that two of these can't deadlock. Unlike an intent this waits for
 * a row that is locked: outcomes must not be passed over. Without a name, as in intent-many.ts.
 */
const recordManyText = `
    with asked as materialized (
      select * from unnest($1::bigint[], $2::int[], $3::int[], $4::uuid[], $5::date[], $6::int[], $7::int[], $8::bytea[],
          $9::text[], $10::int[], $11::int[], $12::int[], $13::int[], $14::int[]) with ordinality
        as a (bucket_id, group_number, epoch, claim_token, due_day, chunk_number, part, codes, after_due_ms, delivered,
          failed, suppressed, expired, in_doubts, nth)
    ), held as materialized (
      select a.nth, g.bucket_id, g.group_number
      from asked a
      join carillon.groups g on g.bucket_id = a.bucket_id and g.group_number = a.group_number
      where g.epoch = a.epoch and g.claim_token = a.claim_token
      order by g.bucket_id, g.group_number
      for no key update of g
    ), fence as (
      update carillon.groups g
      set delivered = g.delivered + a.delivered,
          failed = g.failed + a.failed,
          suppressed = g.suppressed + a.suppressed,
          expired = g.expired + a.expired,
          in_doubts = g.in_doubts + a.in_doubts,
          lease_until = clock_timestamp() + $15::int * interval '1 millisecond'
      from held h
      join asked a on a.nth = h.nth
      where g.bucket_id = h.bucket_id and g.group_number = h.group_number
        and g.epoch = a.epoch and g.claim_token = a.claim_token
      returning a.*
    ), recorded as (
      insert into carillon.outcomes (due_day, bucket_id, group_number, chunk_number, epoch, part, recorded_at,
        codes, after_due_ms)
      select f.due_day, f.bucket_id, f.group_number, f.chunk_number, f.epoch, f.part, clock_timestamp(),
        f.codes, f.after_due_ms::int[]
      from fence f
      on conflict do nothing
    )
    select nth::int from fence`;

/** @returns one for each record, in order: false if its fence refused, as `recordOutcomes` */
export async function recordMany(executor: Executor, records: readonly PlainRecord[]): Promise<readonly boolean[]> {
  const { rows } = await executor.query<{ nth: number }>({
    text: recordManyText,
    values: [
      records.map(({ fence }) => fence.bucketId),
      records.map(({ fence }) => fence.groupNumber),
      records.map(({ fence }) => fence.epoch),
      records.map(({ fence }) => fence.claimToken),
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
