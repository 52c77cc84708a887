import { Worker } from "node:worker_threads";

/**
 * Ends this process when its event loop stands still: a loop that is blocked can't check its leases, and would go on
 * sending when it comes back. A thread of its own counts the loop's ticks; it counts its own ticks too rather than time,
 * so that a process that was stopped as a whole (SIGSTOP, a suspended machine) is not killed when it continues - that one
 * checks its leases before its next send.
 * @param limitMs how long the loop may stand; well within the lease
 */
export function startWatchdog(limitMs: number): Disposable {
  const ticks = new Int32Array(new SharedArrayBuffer(4));
  const tickMs = Math.max(10, Math.floor(limitMs / 8));
  const timer = setInterval(() => Atomics.add(ticks, 0, 1), tickMs);
  timer.unref();
  const thread = new Worker(threadSource, {
    eval: true,
    workerData: { ticks, tickMs, missesMax: 8, pid: process.pid },
  });
  thread.unref();
  thread.on("error", () => undefined);
  return {
    [Symbol.dispose]: () => {
      clearInterval(timer);
      void thread.terminate();
    },
  };
}

const threadSource = `
  const { workerData } = require("node:worker_threads");
  const { ticks, tickMs, missesMax, pid } = workerData;
  let seen = Atomics.load(ticks, 0);
  let misses = 0;
  setInterval(() => {
    const now = Atomics.load(ticks, 0);
    misses = now === seen ? misses + 1 : 0;
    seen = now;
    if (misses < missesMax) return;
    require("node:fs").writeSync(2, JSON.stringify({ level: "fatal", name: "watchdog", pid, msg: "the event loop stands still; ending the process so that its leases can be taken over" }) + "\\n");
    process.kill(pid, "SIGKILL");
  }, tickMs);
`;
