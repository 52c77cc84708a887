import { describe, expect, it } from "vitest";
import { persist } from "../../src/worker/patience.ts";

const never = new AbortController().signal;
const away = () => Object.assign(new Error("terminating connection"), { code: "57P01" });

describe("persist", () => {
  it("repeats what failed because Postgres is away, and says that it is a repeat", async () => {
    const repeats: boolean[] = [];
    const faults: unknown[] = [];
    const result = await persist(
      never,
      async (repeated) => {
        repeats.push(repeated);
        if (repeats.length < 3) throw away();
        return "done";
      },
      (error) => faults.push(error),
    );
    expect(result).toBe("done");
    expect(repeats).toEqual([false, true, true]);
    expect(faults).toHaveLength(2);
  });

  it("does not repeat what is wrong", async () => {
    let tries = 0;
    const failing = persist(
      never,
      async () => {
        tries += 1;
        throw Object.assign(new Error("duplicate key"), { code: "23505" });
      },
      () => undefined,
    );
    await expect(failing).rejects.toThrow("duplicate key");
    expect(tries).toBe(1);
  });

  it("gives up when it is told to, between tries and before the first", async () => {
    const stop = new AbortController();
    const reason = new Error("lost");
    const failing = persist(
      stop.signal,
      async () => {
        throw away();
      },
      () => stop.abort(reason),
    );
    await expect(failing).rejects.toBe(reason);
    let tries = 0;
    await expect(
      persist(
        stop.signal,
        async () => {
          tries += 1;
        },
        () => undefined,
      ),
    ).rejects.toBe(reason);
    expect(tries).toBe(0);
  });
});
