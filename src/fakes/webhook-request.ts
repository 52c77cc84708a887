import type { IncomingMessage } from "node:http";

/** One reminder of a request; one that differs from its batch brings words of its own. */
export interface RequestedReminder {
  readonly id: string;
  readonly user: string;
  readonly title?: string;
  readonly body?: string;
}

/** A webhook request as a receiver sees it, the same whether it brings one reminder or many. */
export interface ReceivedRequest {
  readonly type: "reminder" | "reminders";
  readonly webhookId: string;
  readonly node: string;
  readonly attempt: number;
  readonly topic: string;
  readonly bucket: string;
  readonly group: number;
  readonly dueAtMs: number;
  readonly title: string;
  readonly body: string;
  readonly reminders: readonly RequestedReminder[];
  /** wall clock of the receiver, epoch milliseconds with a fraction */
  readonly receivedAtMs: number;
  readonly headers: IncomingMessage["headers"];
}

/** @returns null when the body is not one of ours */
export function readRequest(incoming: IncomingMessage, body: Buffer, receivedAtMs: number): ReceivedRequest | null {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString("utf8"));
  } catch {
    return null;
  }
  if (!isRecord(parsed) || !isRecord(parsed.data)) return null;
  const { type, data } = parsed;
  if (type !== "reminder" && type !== "reminders") return null;
  const members: unknown = type === "reminder" ? [data] : data.reminders;
  if (!Array.isArray(members) || !members.every(isMember)) return null;
  const { headers } = incoming;
  return {
    type,
    webhookId: String(headers["webhook-id"] ?? ""),
    node: String(headers["carillon-node"] ?? ""),
    attempt: Number(data.attempt),
    topic: String(data.topic),
    bucket: String(data.bucket),
    group: Number(data.group),
    dueAtMs: epochMs(String(data.dueAt)),
    title: String(data.title),
    body: String(data.body),
    reminders: members,
    receivedAtMs,
    headers,
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function isMember(value: unknown): value is RequestedReminder {
  if (!isRecord(value) || typeof value.id !== "string" || typeof value.user !== "string") return false;
  const { title, body } = value;
  return (title === undefined || typeof title === "string") && (body === undefined || typeof body === "string");
}

let lastInstant = "";
let lastMs = Number.NaN;

/** Requests come in runs with one due instant: parsing it once a run is enough. */
function epochMs(instant: string): number {
  if (instant !== lastInstant) {
    lastInstant = instant;
    lastMs = Date.parse(instant);
  }
  return lastMs;
}
