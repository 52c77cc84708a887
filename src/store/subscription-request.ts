import { CarillonError, throwAny } from "../errors.ts";
import { type AddressRule, canonicalAddress } from "../reminder/address.ts";
import type { Rule } from "../reminder/rule.ts";
import { assertZone, isKnownZone, usualZoneName } from "../timetable/civil-time.ts";
import { nextOccurrenceAfter } from "../timetable/occurrences.ts";
import { parseRule } from "../timetable/rule-check.ts";
import { assertSlot } from "../timetable/timetable.ts";
import { readClocks } from "./clock.ts";
import { findDestinations } from "./destinations.ts";
import { destinationNames, type FoundEndpoint, findEndpoint, type NewEndpoint } from "./endpoints.ts";
import type { Executor } from "./executor.ts";
import { findOwnZones, followsUser, inOwnZone, type OwnZones } from "./own-zone.ts";
import { type FoundPlace, findPlaces, type PlaceQuery, placeNotFound } from "./place-times.ts";
import { promiseAfterMs } from "./schedules.ts";
import { findTopics, type TopicRef } from "./topics.ts";

/** How a request says when; its parts are checked here, only their types are known. */
export type When =
  /** RFC 3339 */
  | { readonly at: string }
  | { readonly daily: Readonly<Record<string, unknown>> }
  | { readonly recurrence: Readonly<Record<string, unknown>> }
  | { readonly timetable: TimetableWhen };

export interface TimetableWhen {
  readonly where: PlaceQuery;
  readonly slot: string;
  /** short for one of offsetsMinutes */
  readonly offsetMinutes?: number | undefined;
  readonly offsetsMinutes?: readonly number[] | undefined;
  /** local dates, inclusive */
  readonly startsOn?: string | undefined;
  readonly endsOn?: string | undefined;
}

export interface SubscriptionRequest {
  readonly userId: string;
  /** the topic's name */
  readonly topic: string;
  readonly when: When;
  /** of the user */
  readonly zone?: string | undefined;
  readonly locale?: string | undefined;
  readonly endpoints: readonly NewEndpoint[];
  /** RFC 6901 pointer to this item in the request */
  readonly pointer: string;
}

/** A request whose names have been found and whose rule makes sense. */
export interface ResolvedRequest {
  readonly request: SubscriptionRequest;
  readonly topic: TopicRef;
  readonly endpoints: readonly FoundEndpoint[];
  readonly rule: Rule;
  readonly place: FoundPlace | null;
  /** epoch milliseconds of the first moment that can be promised */
  readonly nextDueAtMs: number;
}

export interface ResolvedRequests {
  readonly items: readonly ResolvedRequest[];
  /** stored zones of users that rules were made of, by outside id: they have to hold when the users are locked */
  readonly ownZones: ReadonlyMap<string, string>;
  /** carillon.clock() when they were resolved, epoch milliseconds */
  readonly nowMs: number;
  /** its seconds in a real second */
  readonly clockSpeed: number;
}

/**
 * Finds what the requests name and checks what they mean, all of them with five statements, before anything is written.
 *
 * @throws unknown_topic, unknown_place, far_from_any_place, unknown_slot, unknown_zone, unknown_destination,
 *   destination_mismatch, bad_address, malformed_time, malformed_rrule, offset_out_of_range, past_instant, never_occurs,
 *   recurs_too_often, user_zone_missing: every mistake of every item at once, each with its pointer
 */
export async function resolveRequests(
  executor: Executor,
  requests: readonly SubscriptionRequest[],
  addressRule: AddressRule = canonicalAddress,
): Promise<ResolvedRequests> {
  const topics = await findTopics(executor, [...new Set(requests.map((request) => request.topic))]);
  const destinations = await findDestinations(
    executor,
    destinationNames(requests.flatMap(({ endpoints }) => endpoints)),
  );
  const places = await placesOf(executor, requests);
  const zones = await findOwnZones(executor, requests);
  const { clockMs: nowMs, speed: clockSpeed } = await readClocks(executor);
  const ruleOf = rememberedRules(places, nowMs);
  const errors: CarillonError[] = [];

  const items = requests.flatMap((request) => {
    const { pointer } = request;
    const topic = topics.get(request.topic);
    if (topic === undefined) {
      const detail = `There is no topic named ${JSON.stringify(request.topic)}.`;
      errors.push(new CarillonError("unknown_topic", detail, { pointer: `${pointer}/topic` }));
    }
    errors.push(...mistakesInZone(request));
    const { userId } = request;
    const endpoints = request.endpoints.flatMap((endpoint, index) => {
      const at = `${pointer}/endpoints/${index}`;
      const found = findEndpoint({ ...endpoint, userId }, destinations, addressRule, at);
      if (!(found instanceof CarillonError)) return [found];
      errors.push(found);
      return [];
    });
    if (isInUnknownZone(request, zones)) return [];
    const found = caught(() => ruleOf(inOwnZone(request, zones)));
    if (found instanceof CarillonError) {
      errors.push(new CarillonError(found.code, found.message, { pointer: `${pointer}${found.pointer ?? ""}` }));
      return [];
    }
    return topic === undefined ? [] : [{ request, topic, endpoints, ...found }];
  });
  throwAny(errors);
  return { items: items.map(withUsualZone), ownZones: zones.stored, nowMs, clockSpeed };
}

/**
 * The rule that a request for a subscription would mean, with nobody who subscribes. Whether it still comes is not asked.
 *
 * @param zone of the user who would subscribe
 * @throws what `resolveRequests` throws of a rule, each with its pointer, but past_instant and never_occurs
 */
export async function resolveWhen(
  executor: Executor,
  when: When,
  zone: string | undefined,
): Promise<{ readonly rule: Rule; readonly place: FoundPlace | null }> {
  if (zone !== undefined) assertZone(zone, "/zone");
  const nobody = "";
  const given = new Map(zone === undefined ? [] : [[nobody, zone] as const]);
  const places = await placesOf(executor, [{ when }]);
  return parseWhen(inOwnZone({ userId: nobody, when }, { given, stored: new Map() }), places);
}

type FoundRule = Pick<ResolvedRequest, "rule" | "place" | "nextDueAtMs">;

/**
 * Many requests say the same when: each is worked out once, its mistakes too (to learn that a slot never comes costs a
 * year of sunrises). Pointers of the errors begin at the item.
 */
function rememberedRules(places: ReadonlyMap<string, FoundPlace>, nowMs: number): (when: When) => FoundRule {
  const known = new Map<string, FoundRule | CarillonError>();
  return (when) => {
    const key = JSON.stringify(when);
    const found = known.get(key) ?? caught(() => findRule(when, places, nowMs));
    known.set(key, found);
    if (found instanceof CarillonError) throw found;
    return found;
  };
}

function findRule(when: When, places: ReadonlyMap<string, FoundPlace>, nowMs: number): FoundRule {
  const { rule, place } = parseWhen(when, places);
  const next = nextOccurrenceAfter(rule, place, nowMs + promiseAfterMs);
  if (next !== null) return { rule, place, nextDueAtMs: next.dueAtMs };
  if (rule.kind === "instant") {
    throw new CarillonError("past_instant", `${rule.at} is not at least a second ahead.`, { pointer: "/at" });
  }
  const pointer = { wall: "/daily", recurrence: "/recurrence", timetable: "/timetable/slot" }[rule.kind];
  const detail = "No moment of this rule comes any more, or none within the next 400 days.";
  throw new CarillonError("never_occurs", detail, { pointer });
}

function parseWhen(
  when: When,
  places: ReadonlyMap<string, FoundPlace>,
): { readonly rule: Rule; readonly place: FoundPlace | null } {
  if ("at" in when) return { rule: parseRule({ kind: "instant", at: when.at }), place: null };
  if ("daily" in when) return { rule: parseRule({ ...when.daily, kind: "wall" }, "/daily"), place: null };
  if ("recurrence" in when) {
    return { rule: parseRule({ ...when.recurrence, kind: "recurrence" }, "/recurrence"), place: null };
  }
  const { where, ...said } = when.timetable;
  const place = places.get(placeKey(where));
  if (place === undefined) throw placeNotFound(where, "/timetable");
  const { placeId } = place;
  const rule = parseRule({ ...said, kind: "timetable", placeId }, "/timetable");
  assertSlot(place.versions, said.slot, "/timetable/slot");
  return { rule, place };
}

async function placesOf(
  executor: Executor,
  requests: readonly Pick<SubscriptionRequest, "when">[],
): Promise<Map<string, FoundPlace>> {
  const queries = new Map<string, PlaceQuery>();
  for (const { when } of requests) {
    if ("timetable" in when) queries.set(placeKey(when.timetable.where), when.timetable.where);
  }
  const found = await findPlaces(executor, [...queries.values()]);
  return new Map(
    [...queries.keys()].flatMap((key, index) => {
      const place = found[index];
      return place === null || place === undefined ? [] : [[key, place] as const];
    }),
  );
}

function placeKey(query: PlaceQuery): string {
  return JSON.stringify(query);
}

/** carillon.clock(), epoch milliseconds. */
export async function clockMs(executor: Executor): Promise<number> {
  return (await readClocks(executor)).clockMs;
}

function mistakesInZone({ zone, pointer }: SubscriptionRequest): CarillonError[] {
  if (zone === undefined) return [];
  const found = caught(() => assertZone(zone, `${pointer}/zone`));
  return found instanceof CarillonError ? [found] : [];
}

/** The zone that the rule would be in is no zone, which its own item is told. */
function isInUnknownZone({ userId, when }: SubscriptionRequest, { given }: OwnZones): boolean {
  const zone = given.get(userId);
  return followsUser(when) && zone !== undefined && !isKnownZone(zone);
}

/** Only of zones that exist: of others there is no usual name. */
function withUsualZone(item: ResolvedRequest): ResolvedRequest {
  const { request } = item;
  return request.zone === undefined ? item : { ...item, request: { ...request, zone: usualZoneName(request.zone) } };
}

function caught<T>(run: () => T): T | CarillonError {
  try {
    return run();
  } catch (error) {
    if (error instanceof CarillonError) return error;
    throw error;
  }
}
