/** What a verb tells on its way, beside the standard output that is for its answer. */
export function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Tells how far something is, once a second and at its end. */
export function progress(verb: string): (done: number, of: number) => void {
  let saidAtMs = 0;
  return (done, of) => {
    const nowMs = performance.now();
    if (done < of && nowMs - saidAtMs < 1000) return;
    saidAtMs = nowMs;
    say(`${verb} ${done.toLocaleString("en")} of ${of.toLocaleString("en")}.`);
  };
}
