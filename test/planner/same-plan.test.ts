import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { beforeAll, describe, expect, it } from "vitest";

/** What a process might be tempted to look at. */
interface Surroundings {
  readonly zone: string;
  readonly locale: string;
  readonly today: string;
  /** a runtime may have Temporal of its own, which the library for recurrences then prefers to the one it brings */
  readonly hasTemporal: boolean;
}

const planner = fileURLToPath(new URL("../support/planner-process.ts", import.meta.url));

async function plansIn({ zone, locale, today, hasTemporal }: Surroundings) {
  const env = { ...process.env, TZ: zone, LC_ALL: locale, LANG: locale };
  const { stdout } = await promisify(execFile)(process.execPath, [planner, today, String(hasTemporal)], {
    env,
    maxBuffer: 50_000_000,
  });
  return JSON.parse(stdout);
}

describe("a plan", () => {
  const home = { zone: "UTC", locale: "C", today: "2026-11-24T12:00:00Z", hasTemporal: false };
  let athome: Awaited<ReturnType<typeof plansIn>>;
  beforeAll(async () => {
    athome = await plansIn(home);
  });

  it("is made of rules of all kinds, in windows where clocks change", () => {
    expect(athome.plans.length).toBeGreaterThan(100);
    const kinds = new Set(athome.plans.map(({ rule }: { rule: { kind: string } }) => rule.kind));
    expect([...kinds].sort()).toEqual(["instant", "recurrence", "timetable", "wall"]);
    const planned = athome.plans.filter(({ buckets }: { buckets: unknown[] }) => buckets.length > 0);
    expect(planned.length).toBeGreaterThan(athome.plans.length / 2);
  });

  it.each<[string, Surroundings]>([
    [
      "in Santiago, in Persian, in July",
      { ...home, zone: "America/Santiago", locale: "fa_IR.UTF-8", today: "2026-07-01T00:00:00Z" },
    ],
    [
      "in Kiritimati, in Arabic, in 1999",
      { ...home, zone: "Pacific/Kiritimati", locale: "ar_EG.UTF-8", today: "1999-12-31T23:59:59Z" },
    ],
    [
      "in Apia, in Thai, in 2036",
      { ...home, zone: "Pacific/Apia", locale: "th_TH.UTF-8", today: "2036-02-29T11:00:00Z" },
    ],
    [
      "in Berlin, in German, in the night of the change",
      { ...home, zone: "Europe/Berlin", locale: "de_DE.UTF-8", today: "2026-10-25T00:30:00Z" },
    ],
    [
      "on Lord Howe, on a leap day",
      { ...home, zone: "Australia/Lord_Howe", locale: "en_US.UTF-8", today: "2028-02-29T15:45:00Z" },
    ],
    ["with Temporal", { ...home, hasTemporal: true, zone: "America/St_Johns" }],
  ])("is the same %s", { timeout: 60_000 }, async (_, surroundings) => {
    const there = await plansIn(surroundings);
    expect(there.surroundings).toEqual({
      zone: surroundings.zone,
      year: new Date(surroundings.today).getUTCFullYear(),
      hasTemporal: surroundings.hasTemporal,
    });
    expect(there.plans).toEqual(athome.plans);
  });
});
