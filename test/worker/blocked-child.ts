import { startWatchdog } from "../../src/worker/watchdog.ts";

/**
 * A process under watch, for the tests of the watchdog: says "ready", then "tick" every 20 ms. Told "block", its loop
 * stands still for good; told "stop watching", it lets the watchdog go first.
 */
const watchdog = startWatchdog(Number(process.argv[2]));
setInterval(() => process.stdout.write("tick\n"), 20);
process.stdin.on("data", (data) => {
  const told = data.toString();
  if (told.includes("stop watching")) watchdog[Symbol.dispose]();
  if (told.includes("block")) {
    process.stdout.write("blocked\n", () => {
      const untilMs = performance.now() + Number(process.argv[3]);
      while (performance.now() < untilMs);
    });
  }
});
process.stdout.write("ready\n");
