import { describe, expect, it } from "vitest";
import { createLogger, rateLimited } from "../../src/logger.ts";

function capture() {
  const lines: Record<string, unknown>[] = [];
  const logger = createLogger("info", "test", { write: (line) => void lines.push(JSON.parse(line)) });
  return { lines, logger };
}

describe("createLogger", () => {
  it("keeps secrets and addresses to itself", () => {
    const { lines, logger } = capture();
    logger.info(
      {
        address: "leak",
        endpoint: { address: "leak", ordinal: 1 },
        request: { headers: { authorization: "leak" } },
        destination: { secrets: ["leak"] },
        token: "leak",
      },
      "sent",
    );
    expect(lines).toHaveLength(1);
    expect(JSON.stringify(lines)).not.toContain("leak");
    expect(lines[0]).toMatchObject({ level: "info", name: "test", msg: "sent", endpoint: { ordinal: 1 } });
  });

  it("says of an error what it is, but not the row that Postgres quotes", () => {
    const { lines, logger } = capture();
    const cause = Object.assign(new Error("duplicate key"), {
      code: "23505",
      detail: "Key (address)=(leak)",
      where: "leak",
    });
    logger.error({ err: new Error("refused", { cause }) }, "failed");
    expect(lines[0]).toMatchObject({ err: { message: "refused", cause: { message: "duplicate key", code: "23505" } } });
    expect(JSON.stringify(lines)).not.toContain("leak");
  });
});

describe("rateLimited", () => {
  it("logs one key at most once an interval and counts what it held back", () => {
    const { lines, logger } = capture();
    let nowMs = 0;
    const limited = rateLimited(logger, 1000, () => nowMs);
    for (; nowMs < 2500; nowMs += 100) limited.warn("database", { nowMs }, "away");
    limited.error("receiver", {}, "another key is another fault");
    expect(lines.map(({ nowMs: at, suppressed, msg }) => [at, suppressed, msg])).toEqual([
      [0, undefined, "away"],
      [1000, 9, "away"],
      [2000, 9, "away"],
      [undefined, undefined, "another key is another fault"],
    ]);
  });
});
