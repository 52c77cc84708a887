import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { sleep } from "../../src/clock.ts";
import { type Answer, type ContenderConfig, type Finish, type Moment, type Question, wallMs } from "./contender.ts";
import type { BenchServer } from "./server.ts";
import { readUsage, type Usage, usageBetween } from "./usage.ts";

/** A contender in one of its settings: what one row of the table stands for. */
export interface Entry extends Omit<ContenderConfig, "databaseUrl"> {
  readonly label: string;
}

/** What one run of one contender came to. */
export interface Run {
  readonly enqueueMs: number;
  /** from the due instant (graphile-worker: from its first send) to the last durable record */
  readonly runMs: number;
  readonly firstLatenessMs: number;
  /** from the due instant on */
  readonly run: Usage;
  /** before it */
  readonly enqueue: Usage;
  readonly ledgerBytes: number | null;
}

/** Usage is read so long before the instant, and must be read by then. */
const settleMs = 250;

/**
 * Lets a contender remind all users once, on a database of its own, in a process of its own that has been through one
 * moment before: neither a cold process nor a cold connection is what its users live with.
 * @throws when a user was left out, or it took too long to be ready by the instant or to finish
 */
export async function runOnce(server: BenchServer, entry: Entry, profileDir: string | null): Promise<Run> {
  await using database = await server.fresh();
  const config: ContenderConfig = { ...entry, databaseUrl: database.url };
  await using child = await startContender(config, profileDir);
  const warmUp = momentOf(entry, 1, server.warmUpUsers);
  await playMoment(child, entry, warmUp, async () => undefined);
  const before = await child.ask({ kind: "audit", moment: warmUp }, "audited");
  await database.tidy();

  const read = () => readUsage(server.client, child.pid, server.postmaster);
  const atStart = await read();
  const startMs = wallMs();
  const moment = momentOf(entry, 2, server.users);
  const played = await playMoment(child, entry, moment, read);
  const atEnd = await read();
  const { recorded, ledgerBytes } = await child.ask({ kind: "audit", moment }, "audited");
  const { firstSendAtMs, recordedAtMs, enqueuedAtMs, atEnqueued, atDue } = played;
  if (recorded !== moment.users) throw new Error(`${entry.label} recorded ${recorded} of ${moment.users} users`);
  if (firstSendAtMs < moment.dueAtMs) throw new Error(`${entry.label} sent ${moment.dueAtMs - firstSendAtMs} ms early`);
  const fromMs = entry.name === "graphile-worker" ? firstSendAtMs : moment.dueAtMs;
  return {
    enqueueMs: enqueuedAtMs - startMs,
    runMs: recordedAtMs - fromMs,
    firstLatenessMs: firstSendAtMs - moment.dueAtMs,
    enqueue: usageBetween(atStart, atEnqueued),
    run: usageBetween(atDue, atEnd),
    ledgerBytes: ledgerBytes === null || before.ledgerBytes === null ? null : ledgerBytes - before.ledgerBytes,
  };
}

interface Played<T> extends Finish {
  readonly enqueuedAtMs: number;
  readonly atEnqueued: T;
  readonly atDue: T;
}

/** @param read what is to be known of the time between enqueueing and the instant, and of just before the instant */
async function playMoment<T>(
  child: RunningContender,
  entry: Entry,
  moment: Moment,
  read: () => Promise<T>,
): Promise<Played<T>> {
  await child.ask({ kind: "enqueue", moment }, "enqueued");
  const enqueuedAtMs = wallMs();
  const aheadMs = moment.dueAtMs - enqueuedAtMs;
  if (aheadMs < settleMs) throw new Error(`${entry.label} was not ready for the instant`);
  const atEnqueued = await read();
  const limitMs = Math.ceil(60_000 + aheadMs + moment.users);
  const finishing = child.ask({ kind: "finish", moment, limitMs }, "finished");
  finishing.catch(() => undefined);
  await sleep(moment.dueAtMs - settleMs - wallMs());
  const atDue = await read();
  const { firstSendAtMs, recordedAtMs } = await finishing;
  return { firstSendAtMs, recordedAtMs, enqueuedAtMs, atEnqueued, atDue };
}

/** The instant is far enough ahead for everything to be in place: a job per user takes its time. */
function momentOf(entry: Entry, scheduleId: number, users: number): Moment {
  const leadMs = entry.name === "graphile-worker" ? 2000 + users * 0.08 : 2000;
  return { scheduleId, users, dueAtMs: Math.ceil((wallMs() + leadMs) / 1000) * 1000 };
}

interface RunningContender extends AsyncDisposable {
  readonly pid: number;
  ask<K extends Answer["kind"]>(question: Question, expected: K): Promise<Extract<Answer, { kind: K }>>;
}

async function startContender(config: ContenderConfig, profileDir: string | null): Promise<RunningContender> {
  const child = fork(fileURLToPath(new URL("./contender-process.ts", import.meta.url)), [JSON.stringify(config)], {
    execArgv: profileDir === null ? [] : ["--cpu-prof", `--cpu-prof-dir=${profileDir}`],
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const exited = once(child, "exit");
  const ended = exited.then(() => {
    throw new Error(`the process of ${config.name} has ended`);
  });
  ended.catch(() => undefined);

  async function answer<K extends Answer["kind"]>(expected: K): Promise<Extract<Answer, { kind: K }>> {
    const [message]: Answer[] = await Promise.race([once(child, "message"), ended]);
    if (message?.kind === "failed") throw new Error(`${config.name}: ${message.why}`);
    if (message === undefined || !isKind(message, expected)) throw new Error(`${config.name} answered out of turn`);
    return message;
  }

  await answer("ready");
  return {
    pid: child.pid ?? 0,
    ask(question, expected) {
      const answered = answer(expected);
      child.send(question);
      return answered;
    },
    async [Symbol.asyncDispose]() {
      if (child.connected) child.disconnect();
      const timer = setTimeout(() => child.kill("SIGKILL"), 20_000);
      await exited;
      clearTimeout(timer);
    },
  };
}

function isKind<K extends Answer["kind"]>(answer: Answer, kind: K): answer is Extract<Answer, { kind: K }> {
  return answer.kind === kind;
}
