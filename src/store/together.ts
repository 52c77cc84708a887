/**
 * Has calls of one kind that are made at about the same time answered by one statement: what each of many small groups
 * asks for by itself costs a round trip and a commit for all of them. Whoever calls knows nothing of the others; if the
 * statement fails, it fails for each of them.
 *
 * @param many answers in the order of the requests
 * @param weightOf what a statement holds is bounded by the sum of these ...
 * @param most ... to so much; a request that is heavier goes alone
 */
export function together<Q, A>(
  many: (requests: readonly Q[]) => Promise<readonly (A | Promise<A>)[]>,
  { weightOf = () => 1, most }: { readonly weightOf?: (request: Q) => number; readonly most: number },
): (request: Q) => Promise<A> {
  let waiting: Waiting<Q, A>[] = [];

  function send(batch: readonly Waiting<Q, A>[]): void {
    many(batch.map(({ request }) => request)).then(
      (answers) => {
        for (const [index, { resolve, reject }] of batch.entries()) {
          const answer = answers[index];
          if (answer === undefined) reject(new Error("a statement did not answer a request"));
          else resolve(answer);
        }
      },
      (error: unknown) => {
        for (const { reject } of batch) reject(error);
      },
    );
  }

  function sendAll(): void {
    const all = waiting;
    waiting = [];
    let batch: Waiting<Q, A>[] = [];
    let weight = 0;
    for (const next of all) {
      const added = weightOf(next.request);
      if (batch.length > 0 && weight + added > most) {
        send(batch);
        batch = [];
        weight = 0;
      }
      batch.push(next);
      weight += added;
    }
    if (batch.length > 0) send(batch);
  }

  return (request) =>
    new Promise((resolve, reject) => {
      if (waiting.length === 0) setImmediate(sendAll);
      waiting.push({ request, resolve, reject });
    });
}

interface Waiting<Q, A> {
  readonly request: Q;
  resolve(answer: A | Promise<A>): void;
  reject(error: unknown): void;
}
