import { unreachable } from "../../src/errors.ts";
import { startCarillon } from "./carillon.ts";
import type { Answer, Contender, ContenderConfig, Question } from "./contender.ts";
import { startCronLoop } from "./cron-loop.ts";
import { startGraphileWorker } from "./graphile-worker.ts";

/** The program that a contender's process runs: it answers the bench's questions one by one, until it is let go. */

const config = JSON.parse(process.argv[2] ?? "") as ContenderConfig;
const contender = await start(config);
process.on("message", (question: Question) => {
  answer(question).then(say, (error: unknown) => {
    say({ kind: "failed", why: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  });
});
process.once("disconnect", () => {
  void contender[Symbol.asyncDispose]();
});
say({ kind: "ready" });

async function answer(question: Question): Promise<Answer> {
  switch (question.kind) {
    case "enqueue":
      await contender.enqueue(question.moment);
      return { kind: "enqueued" };
    case "finish":
      return { kind: "finished", ...(await contender.finish(question.moment, AbortSignal.timeout(question.limitMs))) };
    case "audit":
      return { kind: "audited", ...(await contender.audit(question.moment)) };
    default:
      return unreachable(question);
  }
}

function say(message: Answer): void {
  if (process.connected) process.send?.(message);
}

function start(options: ContenderConfig): Promise<Contender> {
  switch (options.name) {
    case "carillon":
      return startCarillon(options);
    case "graphile-worker":
      return startGraphileWorker(options);
    case "cron-loop":
      return startCronLoop(options);
    default:
      return unreachable(options.name);
  }
}
