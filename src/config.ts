import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { z } from "zod";
import { CarillonError } from "./errors.ts";

/** The version of the zone data that this process reckons with, "2026b". */
export const zoneDataVersion = process.versions.tz ?? "unknown";

export const logLevels = ["fatal", "error", "warn", "info", "debug", "trace", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];

/** Everything that this program takes from its environment: read once, at the start, and handed down as plain data. */
export interface Config {
  /** how this process is called in logs, in the table of nodes and in receivers' logs */
  readonly nodeName: string;
  readonly logLevel: LogLevel;
  /** null: not given; see `requireDatabaseUrl` */
  readonly databaseUrl: string | null;
  /** 32 bytes; null: not given; see `requireSecretKey` */
  readonly secretKey: Uint8Array | null;
  readonly http: { readonly host: string; readonly port: number };
  readonly egress: {
    readonly allowPrivateEndpoints: boolean;
    readonly allowLoopback: boolean;
    readonly connectionsPerHost: number;
    /** push services beside the known ones: host names, or `*.` and a name for all below it */
    readonly webPushHosts: readonly string[];
    /** certificates in PEM of authorities that are trusted beside Node's own; null: none */
    readonly ca: string | null;
  };
  readonly lease: { readonly leaseMs: number; readonly heartbeatMs: number; readonly sweepMs: number };
  readonly planner: { readonly leadMs: number; readonly horizonMs: number; readonly groupTarget: number };
  readonly worker: {
    readonly pollMs: number;
    readonly drainMs: number;
    readonly sendTimeoutMs: number;
    readonly flushMs: number;
    /** groups at once */
    readonly slots: number;
    /** deliveries with intent and without outcome, all groups together */
    readonly window: number;
    readonly windowAtMostOnce: number;
    /** members at most */
    readonly chunk: number;
  };
}

const secretKeyBytes = 32;

const settings = z.object({
  DATABASE_URL: z
    .string()
    .refine(isPostgresUrl, "DATABASE_URL must look like postgres://user:password@host:5432/database.")
    .optional(),
  HOST: z.string().default("127.0.0.1"),
  PORT: whole("PORT", 8080, 0, 65_535),
  LOG_LEVEL: z.enum(logLevels, `LOG_LEVEL must be one of ${logLevels.join(", ")}.`).default("info"),
  CARILLON_SECRET_KEY: z.string().optional(),
  CARILLON_SECRET_KEY_FILE: z.string().optional(),
  CARILLON_NODE_NAME: z
    .string()
    .regex(
      /^[\w.:-]{1,100}$/,
      "CARILLON_NODE_NAME must be 1 to 100 letters, digits, dots, colons, dashes or underscores.",
    )
    .default(() => `${hostname()}-${process.pid}`.replaceAll(/[^\w.:-]/g, "-").slice(-100)),
  CARILLON_LEASE_MS: milliseconds("CARILLON_LEASE_MS", 8000, 500),
  CARILLON_HEARTBEAT_MS: milliseconds("CARILLON_HEARTBEAT_MS", 1000, 50),
  CARILLON_SWEEP_MS: milliseconds("CARILLON_SWEEP_MS", 2000, 50),
  CARILLON_POLL_MS: milliseconds("CARILLON_POLL_MS", 1000, 20),
  CARILLON_DRAIN_MS: milliseconds("CARILLON_DRAIN_MS", 10_000, 100),
  CARILLON_SEND_TIMEOUT_MS: milliseconds("CARILLON_SEND_TIMEOUT_MS", 5000, 50),
  CARILLON_LEAD_MS: milliseconds("CARILLON_LEAD_MS", 10_000, 100),
  CARILLON_PLAN_HORIZON_MS: milliseconds("CARILLON_PLAN_HORIZON_MS", 3_600_000, 120_000),
  CARILLON_FLUSH_MS: milliseconds("CARILLON_FLUSH_MS", 50, 1),
  CARILLON_WINDOW: whole("CARILLON_WINDOW", 500, 1, 100_000),
  CARILLON_WINDOW_AT_MOST_ONCE: whole("CARILLON_WINDOW_AT_MOST_ONCE", 50, 1, 100_000),
  CARILLON_CHUNK: whole("CARILLON_CHUNK", 500, 1, 10_000),
  CARILLON_SLOTS: whole("CARILLON_SLOTS", 8, 1, 256),
  CARILLON_GROUP_TARGET: whole("CARILLON_GROUP_TARGET", 5000, 1, 10_000_000),
  CARILLON_CONNECTIONS_PER_HOST: whole("CARILLON_CONNECTIONS_PER_HOST", 64, 1, 1024),
  CARILLON_ALLOW_PRIVATE_ENDPOINTS: yesOrNo("CARILLON_ALLOW_PRIVATE_ENDPOINTS"),
  CARILLON_ALLOW_LOOPBACK: yesOrNo("CARILLON_ALLOW_LOOPBACK"),
  CARILLON_WEB_PUSH_HOSTS: hosts("CARILLON_WEB_PUSH_HOSTS"),
  CARILLON_CA_FILE: z.string().optional(),
});
type Settings = z.infer<typeof settings>;

/**
 * Reads and checks the whole configuration. An empty variable counts as not given.
 *
 * @returns plain data; durations in milliseconds, as their names say
 * @throws CarillonError `bad_configuration` with one sentence per mistake, a line each
 */
export function readConfig(env: NodeJS.ProcessEnv): Config {
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined && value !== ""));
  const parsed = settings.safeParse(given);
  if (!parsed.success) throw mistaken(parsed.error.issues.map((issue) => issue.message));
  const read = parsed.data;
  const mistakes: string[] = [];
  const secretKey = readSecretKey(read, mistakes);
  const ca = readAuthorities(read, mistakes);
  mistakes.push(...contradictions(read));
  if (mistakes.length > 0) throw mistaken(mistakes);
  return {
    nodeName: read.CARILLON_NODE_NAME,
    logLevel: read.LOG_LEVEL,
    databaseUrl: read.DATABASE_URL ?? null,
    secretKey,
    http: { host: read.HOST, port: read.PORT },
    egress: {
      allowPrivateEndpoints: read.CARILLON_ALLOW_PRIVATE_ENDPOINTS,
      allowLoopback: read.CARILLON_ALLOW_LOOPBACK,
      connectionsPerHost: read.CARILLON_CONNECTIONS_PER_HOST,
      webPushHosts: read.CARILLON_WEB_PUSH_HOSTS,
      ca,
    },
    lease: {
      leaseMs: read.CARILLON_LEASE_MS,
      heartbeatMs: read.CARILLON_HEARTBEAT_MS,
      sweepMs: read.CARILLON_SWEEP_MS,
    },
    planner: {
      leadMs: read.CARILLON_LEAD_MS,
      horizonMs: read.CARILLON_PLAN_HORIZON_MS,
      groupTarget: read.CARILLON_GROUP_TARGET,
    },
    worker: {
      pollMs: read.CARILLON_POLL_MS,
      drainMs: read.CARILLON_DRAIN_MS,
      sendTimeoutMs: read.CARILLON_SEND_TIMEOUT_MS,
      flushMs: read.CARILLON_FLUSH_MS,
      slots: read.CARILLON_SLOTS,
      window: read.CARILLON_WINDOW,
      windowAtMostOnce: read.CARILLON_WINDOW_AT_MOST_ONCE,
      chunk: read.CARILLON_CHUNK,
    },
  };
}

/** @throws CarillonError `bad_configuration` where no database was given */
export function requireDatabaseUrl(config: Config): string {
  if (config.databaseUrl !== null) return config.databaseUrl;
  throw mistaken(["DATABASE_URL is not set: say where Postgres is, as postgres://user:password@host:5432/database."]);
}

/** @throws CarillonError `secret_key_missing` where no key was given */
export function requireSecretKey(config: Config): Uint8Array {
  if (config.secretKey !== null) return config.secretKey;
  throw new CarillonError(
    "secret_key_missing",
    "CARILLON_SECRET_KEY is not set: give 32 random bytes in base64, such as `openssl rand -base64 32` prints.",
  );
}

function contradictions(read: Settings): string[] {
  const found: string[] = [];
  const sendMs = read.CARILLON_SEND_TIMEOUT_MS;
  const leaseMs = read.CARILLON_LEASE_MS;
  if (sendMs + 2 * read.CARILLON_HEARTBEAT_MS > leaseMs) {
    found.push(
      `CARILLON_SEND_TIMEOUT_MS plus two CARILLON_HEARTBEAT_MS (${sendMs} + 2 x ${read.CARILLON_HEARTBEAT_MS}) must not ` +
        `exceed CARILLON_LEASE_MS (${leaseMs}): a send would outlive its lease.`,
    );
  }
  if (sendMs >= read.CARILLON_DRAIN_MS) {
    found.push(
      `CARILLON_SEND_TIMEOUT_MS (${sendMs}) must be less than CARILLON_DRAIN_MS (${read.CARILLON_DRAIN_MS}): ` +
        "a stop would leave sends in doubt.",
    );
  }
  if (read.CARILLON_LEAD_MS < 2 * read.CARILLON_POLL_MS) {
    found.push(
      `CARILLON_LEAD_MS (${read.CARILLON_LEAD_MS}) must be at least two CARILLON_POLL_MS (2 x ${read.CARILLON_POLL_MS}): ` +
        "groups would be found only after their instant.",
    );
  }
  return found;
}

function readSecretKey(read: Settings, mistakes: string[]): Uint8Array | null {
  const { CARILLON_SECRET_KEY: inline, CARILLON_SECRET_KEY_FILE: file } = read;
  if (inline !== undefined && file !== undefined) {
    mistakes.push("Give CARILLON_SECRET_KEY or CARILLON_SECRET_KEY_FILE, not both.");
    return null;
  }
  const name = file === undefined ? "CARILLON_SECRET_KEY" : "The file that CARILLON_SECRET_KEY_FILE names";
  const text = file === undefined ? inline : readText("CARILLON_SECRET_KEY_FILE", file, mistakes);
  if (text === undefined) return null;
  const key = Buffer.from(text.trim(), "base64");
  // Node ignores what isn't base64, so only what comes out the same way was meant so
  if (key.length === secretKeyBytes && key.toString("base64") === text.trim()) return new Uint8Array(key);
  mistakes.push(
    `${name} must hold exactly 32 bytes in base64 (44 characters); \`openssl rand -base64 32\` makes some.`,
  );
  return null;
}

/** Node takes any text as authorities, and trusts nobody more where it holds none. */
function readAuthorities({ CARILLON_CA_FILE: file }: Settings, mistakes: string[]): string | null {
  if (file === undefined) return null;
  const text = readText("CARILLON_CA_FILE", file, mistakes);
  if (text === undefined) return null;
  const certificates = text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  if (certificates.length > 0 && certificates.every(isCertificate)) return certificates.join("\n");
  mistakes.push("The file that CARILLON_CA_FILE names must hold certificates in PEM.");
  return null;
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0;
  } catch {
    return false;
  }
}

function readText(name: string, file: string, mistakes: string[]): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    const why = error instanceof Error && "code" in error ? ` (${error.code})` : "";
    mistakes.push(`The file that ${name} names can't be read: ${file}${why}.`);
    return undefined;
  }
}

function milliseconds(name: string, preset: number, least: number) {
  return whole(name, preset, least, 86_400_000, "of milliseconds ");
}

function whole(name: string, preset: number, least: number, most: number, unit = "") {
  return z
    .string()
    .refine((text) => /^\d{1,9}$/.test(text) && Number(text) >= least && Number(text) <= most, {
      error: (issue) => `${name} must be a whole number ${unit}from ${least} to ${most}, not "${issue.input}".`,
    })
    .transform(Number)
    .default(preset);
}

function yesOrNo(name: string) {
  return z
    .stringbool({ truthy: ["true", "1", "yes"], falsy: ["false", "0", "no"], error: `${name} must be true or false.` })
    .default(false);
}

/** A host name; `*.` before it needs at least two labels, since `*.com` would be the whole world. */
const hostPattern = /^(?:\*\.(?=[^.]+\.))?[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})*$/;

function hosts(name: string) {
  return z
    .string()
    .default("")
    .transform((text) =>
      text
        .split(",")
        .map((host) => host.trim().toLowerCase())
        .filter((host) => host !== ""),
    )
    .refine((given) => given.every((host) => hostPattern.test(host)), {
      error: `${name} must be host names with commas between them, such as push.example.com,*.push.example.org.`,
    });
}

function isPostgresUrl(text: string): boolean {
  return /^postgres(ql)?:\/\//.test(text) && URL.canParse(text) && new URL(text).pathname.length > 1;
}

function mistaken(sentences: readonly string[]): CarillonError {
  return new CarillonError("bad_configuration", sentences.join("\n"));
}
