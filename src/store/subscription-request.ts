import { CarillonError, throwAny } from "../errors.ts";
import type { Rule } from "../reminder/rule.ts";
import { assertZone, usualZoneName } from "../timetable/civil-time.ts";
import { nextOccurrenceAfter } from "../timetable/occurrences.ts";
import { parseRule } from "../timetable/rule-check.ts";
import { assertSlot } from "../timetable/timetable.ts";
import { readClocks } from "./clock.ts";
import { findDestinations } from "./destinations.ts";
import { destinationNames, mistakesInEndpoint, type NewEndpoint } from "./endpoints.ts";
import type { Executor } from "./executor.ts";
import { type FoundPlace, findPlaces, type PlaceQuery, placeNotFound } from "./place-times.ts";
import { promiseAfterMs } from "./schedules.ts";
import { findTopics, type TopicRef } from "./topics.ts";

/** How a request says when; its parts are checked here, only their types are known. */
export type When =
  /** RFC 3339 */
  | { readonly at: string }
  | { readonly daily: Readonly<Record<string, unknown>> }
  | { readonly timetable: { readonly where: PlaceQuery; readonly slot: string; readonly offsetMinutes?: number } };

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
  readonly rule: Rule;
  readonly place: FoundPlace | null;
  /** epoch milliseconds of the first moment that can be promised */
  readonly nextDueAtMs: number;
}

export interface ResolvedRequests {
  readonly items: readonly ResolvedRequest[];
  readonly destinations: ReadonlyMap<string, number>;
  /** carillon.clock() when they were resolved, epoch milliseconds */
  readonly nowMs: number;
  /** its seconds in a real second */
  readonly clockSpeed: number;
}

/**
 * Finds what the requests name and checks what they mean, all of them with four statements, before anything is written.
 *
 * @throws unknown_topic, unknown_place, far_from_any_place, unknown_slot, unknown_zone, unknown_destination,
 *   destination_mismatch, malformed_time, offset_out_of_range, past_instant, never_occurs: every mistake of every item
 *   at once, each with its pointer
 */
export async function resolveRequests(
  executor: Executor,
  requests: readonly SubscriptionRequest[],
): Promise<ResolvedRequests> {
  const topics = await findTopics(executor, [...new Set(requests.map((request) => request.topic))]);
  const destinations = await findDestinations(
    executor,
    destinationNames(requests.flatMap(({ endpoints }) => endpoints)),
  );
  const places = await placesOf(executor, requests);
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
    for (const [index, endpoint] of request.endpoints.entries()) {
      errors.push(...mistakesInEndpoint(endpoint, destinations, `${pointer}/endpoints/${index}`));
    }
    const found = ruleOf(request.when);
    if (found instanceof CarillonError) {
      errors.push(new CarillonError(found.code, found.message, { pointer: `${pointer}${found.pointer ?? ""}` }));
      return [];
    }
    return topic === undefined ? [] : [{ request, topic, ...found }];
  });
  throwAny(errors);
  return { items: items.map(withUsualZone), destinations, nowMs, clockSpeed };
}

type FoundRule = Pick<ResolvedRequest, "rule" | "place" | "nextDueAtMs">;

/**
 * Many requests say the same when: each is worked out once, its mistakes too (to learn that a slot never comes costs a
 * year of sunrises). Pointers of the errors begin at the item.
 */
function rememberedRules(
  places: ReadonlyMap<string, FoundPlace>,
  nowMs: number,
): (when: When) => FoundRule | CarillonError {
  const known = new Map<string, FoundRule | CarillonError>();
  return (when) => {
    const key = JSON.stringify(when);
    const before = known.get(key);
    if (before !== undefined) return before;
    const found = caught(() => findRule(when, places, nowMs));
    known.set(key, found);
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
  const pointer = rule.kind === "wall" ? "/daily" : "/timetable/slot";
  throw new CarillonError("never_occurs", "No moment of this rule comes within the next 400 days.", { pointer });
}

function parseWhen(
  when: When,
  places: ReadonlyMap<string, FoundPlace>,
): { readonly rule: Rule; readonly place: FoundPlace | null } {
  if ("at" in when) return { rule: parseRule({ kind: "instant", at: when.at }), place: null };
  if ("daily" in when) return { rule: parseRule({ ...when.daily, kind: "wall" }, "/daily"), place: null };
  const { where, slot, offsetMinutes = 0 } = when.timetable;
  const place = places.get(placeKey(where));
  if (place === undefined) throw placeNotFound(where, "/timetable");
  const { placeId } = place;
  const rule = parseRule({ kind: "timetable", placeId, slot, offsetMinutes }, "/timetable");
  assertSlot(place.timetable, slot, "/timetable/slot");
  return { rule, place };
}

async function placesOf(
  executor: Executor,
  requests: readonly SubscriptionRequest[],
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

function mistakesInZone({ zone, pointer }: SubscriptionRequest): CarillonError[] {
  if (zone === undefined) return [];
  const found = caught(() => assertZone(zone, `${pointer}/zone`));
  return found instanceof CarillonError ? [found] : [];
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
