import { outcomeCodes } from "../reminder/outcome-code.ts";

/*
 * A chunk on its way from Postgres to the worker: one row, whose columns are put together here and taken apart again.
 */

/** A member that is to be sent to under an intent that stands. */
export interface Member {
  /** from 0, in the chunk's own order */
  readonly index: number;
  /** of a delivery that is tried again, where it stands in `deferred`; null: to be asked of the user where it matters */
  readonly hashSlot: number | null;
  readonly userNumber: string;
  readonly ordinal: number;
  readonly channel: string;
  readonly destinationId: number | null;
  readonly address: string;
  readonly zone: string | null;
  readonly locale: string | null;
}

/** A chunk whose intent is durable. */
export interface Chunk {
  readonly chunkNumber: number;
  readonly attempt: number;
  /** all members, those that the gate refused included; 0: nobody was left and no chunk was written */
  readonly size: number;
  readonly members: readonly Member[];
  /** the group has been paged through to its end */
  readonly pagedThrough: boolean;
  /** others of the members' endpoints may stand by for what becomes of these (reach.ts) */
  readonly standby: boolean;
}

/**
 * All members of a chunk in one row: their arrays for the ledger, and what sending needs of them, a line each. One row for
 * a whole chunk, and a column at a time, since Postgres and the driver would spend most of their time on rows; and what
 * all or nearly all chunks would say alike (each member's first endpoint, nobody refused) is not said at all.
 * (Endpoints hold no control characters: a constraint.)
 *
 * @param members in the order that the chunk is to have; not ordered again here
 * @param also hashSlots: whose they are, where that is needed; by: one roll for each value of this column
 */
export const roll = (members: string, attempt: string, also: { hashSlots?: string; by?: string } = {}) => `
  select ${
    also.by === undefined
      ? ""
      : `${also.by}, count(*) filter (where m.code between 30 and 39)::int as refusals,
    count(*) filter (where m.code = ${outcomeCodes.heldByQuietHours})::int as waiting, `
  }count(*)::int as members, ${attempt} as attempt,
    min(m.hash_slot) as first_slot, max(m.hash_slot) as last_slot, ${also.hashSlots ?? "null::integer[]"} as hash_slots,
    array_agg(m.user_number::integer) as user_numbers,
    case when max(m.ordinal) > 1 or count(m.ordinal) < count(*) then array_agg(coalesce(m.ordinal, 0::smallint)) end as ordinals,
    case when max(m.code) > 0 then string_agg(set_byte('\\x00', 0, m.code), '') end as refused,
    ${column("m.address")} as addresses,
    ${column("m.channel")} as channels,
    ${column("m.destination_id::text")} as destination_ids,
    ${column("m.zone")} as zones,
    ${column("m.locale")} as locales
  from ${members} m`;

export const allSlots = "array_agg(m.hash_slot)";
const column = (name: string) => `string_agg(coalesce(${name}, ''), E'\\n')`;

/** What of a roll `r` a `ChunkRow` needs. */
export const rollColumns = `
    coalesce(r.members, 0) as members, r.refused, r.user_numbers::text, r.ordinals::text, r.hash_slots::text, r.addresses, r.channels,
    r.destination_ids, r.zones, r.locales`;

export interface ChunkRow {
  members: number;
  paged_through: boolean;
  attempt: number;
  /** others stand by, as far as `refused` does not tell */
  standby?: boolean;
  refused: Buffer | null;
  /** arrays as Postgres writes them: the driver's own reading of arrays is slow */
  user_numbers: string | null;
  /** null: the first endpoint of each */
  ordinals: string | null;
  hash_slots: string | null;
  /** a line for each member */
  addresses: string | null;
  channels: string | null;
  destination_ids: string | null;
  zones: string | null;
  locales: string | null;
}

export function chunkOf(row: ChunkRow | undefined, chunkNumber: number): Chunk | null {
  if (row === undefined) return null;
  const { members: size, attempt, refused } = row;
  const userNumbers = elementsOf(row.user_numbers);
  const ordinals = row.ordinals === null ? null : elementsOf(row.ordinals);
  const hashSlots = row.hash_slots === null ? null : elementsOf(row.hash_slots);
  const addresses = linesOf(row.addresses, size);
  const channels = linesOf(row.channels, size);
  const destinationIds = linesOf(row.destination_ids, size);
  const zones = linesOf(row.zones, size);
  const locales = linesOf(row.locales, size);
  const members: Member[] = [];
  for (let index = 0; index < size; index += 1) {
    if (refused !== null && refused[index] !== 0) continue;
    const destinationId = destinationIds(index);
    members.push({
      index,
      hashSlot: hashSlots === null ? null : Number(hashSlots[index]),
      userNumber: userNumbers[index] ?? "",
      ordinal: ordinals === null ? 1 : Number(ordinals[index]),
      channel: channels(index),
      destinationId: destinationId === "" ? null : Number(destinationId),
      address: addresses(index),
      zone: zones(index) || null,
      locale: locales(index) || null,
    });
  }
  const standby = row.standby === true || refused?.includes(outcomeCodes.standsBy) === true;
  return { chunkNumber, attempt, size, members, pagedThrough: row.paged_through, standby };
}

/** Of an array without nulls or quotes, "{1,2}". */
function elementsOf(array: string | null): readonly string[] {
  return array === null ? [] : array.slice(1, -1).split(",");
}

/** The lines of a column by their index. Most columns say the same in each line, and are then not taken apart. */
function linesOf(column: string | null, size: number): (index: number) => string {
  if (column === null) return () => "";
  const end = column.indexOf("\n");
  const first = end === -1 ? column : column.slice(0, end);
  if (column.length === (first.length + 1) * size - 1 && column === `${`${first}\n`.repeat(size - 1)}${first}`) {
    return () => first;
  }
  const lines = column.split("\n");
  return (index) => lines[index] ?? "";
}
