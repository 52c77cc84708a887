import { describe, expect, it } from "vitest";
import { Arms } from "../../src/worker/arms.ts";

const dueAtMs = 1_900_000_000_000;

describe("Arms", () => {
  it("holds no more than the node's share of one second's groups", () => {
    const arms = new Arms(100);
    expect(arms.take(dueAtMs, 2)).not.toBeNull();
    expect(arms.take(dueAtMs + 999, 2)).not.toBeNull();
    expect(arms.take(dueAtMs, 2)).toBeNull();
    expect(arms.take(dueAtMs + 1000, 2)).not.toBeNull();
  });

  it("holds no more than half of the slots in all, but always one", () => {
    const arms = new Arms(5);
    expect(arms.take(dueAtMs, 9)).not.toBeNull();
    expect(arms.take(dueAtMs + 5000, 9)).not.toBeNull();
    expect(arms.take(dueAtMs + 9000, 9)).toBeNull();
    const single = new Arms(1);
    expect(single.take(dueAtMs, 9)).not.toBeNull();
    expect(single.take(dueAtMs, 9)).toBeNull();
  });

  it("has room again for what is let go, once however often", () => {
    const arms = new Arms(4);
    const first = arms.take(dueAtMs, 1);
    expect(arms.take(dueAtMs, 1)).toBeNull();
    first?.[Symbol.dispose]();
    first?.[Symbol.dispose]();
    expect(arms.take(dueAtMs, 1)).not.toBeNull();
    expect(arms.take(dueAtMs, 1)).toBeNull();
    expect(arms.take(dueAtMs + 1000, 1)).not.toBeNull();
    expect(arms.take(dueAtMs + 2000, 1)).toBeNull();
  });

  it("arms nothing of a moment of which it has no share", () => {
    expect(new Arms(8).take(dueAtMs, 0)).toBeNull();
  });
});
