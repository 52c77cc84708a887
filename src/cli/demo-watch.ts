import { sleep } from "../clock.ts";
import type { Database } from "../store/database.ts";
import { openIntents } from "../store/invariants.ts";
import { nodesOf } from "../store/rehearsal.ts";
import type { ChildNode } from "./child-node.ts";
import type { Kill } from "./demo-report.ts";
import { type DemoStage, nodeNames } from "./demo-stage.ts";
import { progress, say } from "./say.ts";

/** Waits until the receiver has everybody, and on the way there, if that is wanted, kills a node. */
export async function watch(
  { receiver, nodes, db, clock }: DemoStage,
  expected: number,
  dueAtMs: number,
  wantsKill: boolean,
  stopping: AbortSignal,
): Promise<Kill | null> {
  const show = progress("Received");
  const done = new AbortController();
  const everybody = receiver.whenReceived(expected, stopping);
  const killing = wantsKill
    ? receiver.whenReceived(Math.ceil(expected / 5), stopping).then(() => killNode(nodes, db, stopping))
    : Promise.resolve(null);
  const showing = (async () => {
    while (!done.signal.aborted) {
      const waitMs = clock.realMsUntil(dueAtMs);
      if (waitMs > 0) say(`${Math.ceil(waitMs / 1000)} s to the moment.`);
      else show(receiver.received, expected);
      await sleep(Math.min(1000, waitMs > 0 ? waitMs : 1000), done.signal).catch(() => undefined);
    }
  })();
  try {
    const kill = await killing;
    // duplicates count too, so after a kill this may be before the last user is reached: the bucket's closing decides
    await everybody;
    return kill;
  } finally {
    done.abort();
    await showing;
  }
}

/** Kills a node that has sent, or is about to, what it has not recorded yet. It is stopped first, to make sure of that. */
async function killNode(nodes: readonly ChildNode[], db: Database, stopping: AbortSignal): Promise<Kill> {
  for (let turn = 0; ; turn += 1) {
    stopping.throwIfAborted();
    const index = turn % nodes.length;
    const victim = nodes[index];
    const name = nodeNames[index];
    if (victim === undefined || name === undefined) throw new Error("there is no node to kill");
    const numbers = await nodesOf(db, victim.pid);
    victim.kill("SIGSTOP");
    const holds = (await openIntents(db)).some(({ nodeId }) => numbers.includes(nodeId));
    if (!holds) {
      victim.kill("SIGCONT");
      continue;
    }
    const atMs = Date.now();
    victim.kill("SIGKILL");
    say(`Killed ${name} (SIGKILL).`);
    return { node: name, atMs };
  }
}
