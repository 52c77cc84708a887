import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { planDue } from "../../src/planner/plan.ts";
import { createTopic } from "../../src/store/topics.ts";
import { addDays, formatDate, localDate } from "../../src/timetable/civil-time.ts";
import { createEngine, type Engine } from "../support/engine.ts";
import { minuteIn, seedTable, tableWith } from "../support/tables.ts";

let engine: Engine;
let scheduleIds: readonly string[];
const [first, second, third] = [minuteIn(20), minuteIn(25), minuteIn(30)];
beforeAll(async () => {
  engine = await createEngine();
  await createTopic(engine.db, "live", {});
  ({ scheduleIds } = await seedTable(engine.db, { name: "city", topic: "live", dueAtMs: { opens: first } }));
  await plan();
});
afterAll(() => engine[Symbol.asyncDispose]());

const plan = () => planDue(engine.db, { horizonMs: 3_600_000, leadMs: 1000 }, new AbortController().signal);
const dueAt = async () => {
  await plan();
  const rows = await engine.rows<{ due_at: Date }>(
    "select due_at from carillon.time_buckets where schedule_id = any ($1)",
    [scheduleIds],
  );
  return rows.map((row) => row.due_at.getTime());
};

/** The statements of the section, as psql would send them. */
const page = readFileSync(new URL("../../docs/inspection.md", import.meta.url), "utf8");
const section = page.slice(page.indexOf("## Data that an operator may change"));
const [look = "", correct = "", add = "", place = ""] = [...section.matchAll(/```sql\n([\s\S]*?)```/g)].map(
  ([, sql]) => sql ?? "",
);
function run<T extends object = object>(sql: string, values: Readonly<Record<string, string>> = {}): Promise<T[]> {
  const names = Object.keys(values);
  const text = sql.replace(/:'(\w+)'/g, (_, name: string) => `$${names.indexOf(name) + 1}`);
  return engine.rows(text, Object.values(values));
}

describe("docs/inspection.md", () => {
  it("says by which statements an operator sees and changes what gives places their times", async () => {
    const today = localDate(Date.now(), "UTC");
    const tomorrow = formatDate(addDays(today, 1));
    const seen = async () => (await run<{ place: string }>(look.replace("de-%", "city-%")))[0];
    expect(await run(look)).toEqual([]);
    expect(await seen()).toEqual({
      place: "city-0",
      zone: "UTC",
      timetable: "city",
      kind: "table",
      version: 1,
      effective_from: null,
      next_from: null,
    });
    expect(await dueAt()).toEqual([first]);
    const table = (dueAtMs: number) => JSON.stringify(tableWith({ opens: dueAtMs }));
    await run(correct, { parameters: table(second), version: "1", timetable: "city" });
    expect(await dueAt()).toEqual([second]);
    await run(add, { effective_from: tomorrow, parameters: table(third), timetable: "city" });
    expect(await seen()).toMatchObject({ version: 1, next_from: tomorrow });
    await run(add, { effective_from: "2020-01-01", parameters: table(third), timetable: "city" });
    expect(await dueAt()).toEqual([third]);
    expect(await seen()).toMatchObject({ version: 3, effective_from: "2020-01-01" });
    await run(place, { timetable: "prayer", place: "city-0" });
    expect(await seen()).toMatchObject({ timetable: "prayer", kind: "prayer", version: 1, next_from: null });
    // prayer times have no such slot
    expect(await dueAt()).toEqual([]);
  });
});
