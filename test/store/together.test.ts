import { describe, expect, it } from "vitest";
import { together } from "../../src/store/together.ts";

describe("together", () => {
  it("asks once for calls that are made at about the same time, and answers each", async () => {
    const asked: number[][] = [];
    const double = together(
      async (numbers: readonly number[]) => {
        asked.push([...numbers]);
        return numbers.map((number) => number * 2);
      },
      { most: 10 },
    );
    expect(await Promise.all([double(1), double(2), double(3)])).toEqual([2, 4, 6]);
    expect(await double(4)).toBe(8);
    expect(asked).toEqual([[1, 2, 3], [4]]);
  });

  it("keeps what one statement holds within its bound, and lets a heavy request go alone", async () => {
    const asked: number[][] = [];
    const same = together(
      async (numbers: readonly number[]) => {
        asked.push([...numbers]);
        return numbers;
      },
      { weightOf: (number) => number, most: 10 },
    );
    await Promise.all([4, 6, 1, 30, 2].map((number) => same(number)));
    expect(asked).toEqual([[4, 6], [1], [30], [2]]);
  });

  it("fails for each where the statement fails, and for whom it does not answer", async () => {
    const failing = together(
      async (numbers: readonly number[]) => {
        if (numbers.includes(2)) throw new Error("refused");
        return numbers.slice(1);
      },
      { most: 10 },
    );
    const results = await Promise.allSettled([failing(1), failing(2)]);
    expect(results.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    await expect(Promise.allSettled([failing(3), failing(4)])).resolves.toMatchObject([
      { status: "fulfilled", value: 4 },
      { status: "rejected" },
    ]);
  });
});
