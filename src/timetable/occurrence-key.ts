/** An occurrence's key, read back: what the rule asked for, before clocks and offsets had their say. */
import { CarillonError } from "../errors.ts";
import type { WallTime } from "./civil-time.ts";

/** A slot that gave an occurrence. */
export interface KeyedSlot {
  readonly placeId: number;
  readonly slot: string;
  /** the place's own date, "2026-12-01" */
  readonly date: string;
  readonly offsetMinutes: number;
}

export interface KeyedWallTime extends WallTime {
  readonly fold: 0 | 1;
  readonly offsetMinutes: number;
}

const wallKey = /^(\d{4,})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\[([01])\](?:([+-]\d+)m)?$/;
const slotKey = /^(\d+)\/(.+)\/(\d{4,}-\d\d-\d\d)(?:([+-]\d+)m)?$/;

/**
 * "2026-10-25T02:30:00[0]-20m": 02:30 on the wall, the first of two if there are two, and 20 minutes before it.
 *
 * @throws CarillonError internal when it is no such key
 */
export function keyedWallTime(key: string): KeyedWallTime {
  const found = wallKey.exec(key);
  if (found === null) throw noKey(key);
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = found.slice(1, 7).map(Number);
  const offsetMinutes = Number(found[8] ?? 0);
  return { year, month, day, hour, minute, second, fold: found[7] === "1" ? 1 : 0, offsetMinutes };
}

/**
 * "12/fajr/2026-12-01-20m": 20 minutes before fajr of that date at place 12.
 *
 * @throws CarillonError internal when it is no such key
 */
export function keyedSlot(key: string): KeyedSlot {
  const [, placeId, slot, date, offset] = slotKey.exec(key) ?? [];
  if (placeId === undefined || slot === undefined || date === undefined) throw noKey(key);
  return { placeId: Number(placeId), slot, date, offsetMinutes: Number(offset ?? 0) };
}

function noKey(key: string): CarillonError {
  return new CarillonError("internal", `${JSON.stringify(key)} is not the key of such an occurrence.`);
}
