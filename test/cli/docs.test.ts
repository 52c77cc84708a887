import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { apiNodeConnections, workerNodeConnections } from "../../src/app.ts";
import type { Delivery, Message, Moment } from "../../src/channels/channel.ts";
import { createWebhookChannel } from "../../src/channels/webhook.ts";
import { momentBodies } from "../../src/channels/webhook-body.ts";
import { batchOutcomes } from "../../src/channels/webhook-reply.ts";
import { signer } from "../../src/channels/webhook-signature.ts";
import { createProgram } from "../../src/cli/program.ts";
import { readConfig } from "../../src/config.ts";
import { kinds } from "../../src/import/kinds.ts";
import { deliveryId, webhookId } from "../../src/reminder/delivery-id.ts";
import { createTopic } from "../../src/store/topics.ts";
import {
  byCountry,
  highLatitudeRules,
  madhabs,
  parsePrayerTimetable,
  prayerMethods,
  prayerSlots,
} from "../../src/timetable/prayer.ts";
import { countriesWithDefaults, prayerDefaults } from "../../src/timetable/prayer-defaults.ts";
import { noTimeReasons } from "../../src/timetable/slot-time.ts";
import { sunSlots } from "../../src/timetable/sun.ts";
import { parseTableCsv } from "../../src/timetable/table-csv.ts";
import { parseTimetable, timetableKinds } from "../../src/timetable/timetable.ts";
import { parseWeeklyTimetable, weeklySlots } from "../../src/timetable/weekly.ts";
import { deliveriesTo, sendAll, someMessage } from "../channels/conformance.ts";
import { geonamesLine } from "../import/geonames-line.ts";
import { createTestDatabase } from "../support/database.ts";
import { bands } from "../timetable/sky-oracle.ts";

const root = new URL("../../", import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), "utf8");

const pages = [
  "README.md",
  ...readdirSync(new URL("docs/", root), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".md"))
    .map((file) => `docs/${file}`),
];

/** The cells of the rows whose first cell matches. */
function rowsOf(page: string, first: RegExp): string[][] {
  return read(page)
    .split("\n")
    .filter((line) => line.startsWith("| "))
    .map((line) =>
      line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim()),
    )
    .filter(([cell = ""]) => first.test(cell));
}

function blocksOf(page: string, language: string): string[] {
  return [...read(page).matchAll(new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)^\`\`\`$`, "gm"))].map(
    ([, text = ""]) => text,
  );
}

describe("what is written", () => {
  it("names verbs and scripts that there are", () => {
    const verbs = createProgram().commands.map((command) => command.name());
    const { scripts } = JSON.parse(read("package.json"));
    for (const page of [...pages, "docker-compose.yml", "CONTRIBUTING.md"]) {
      const text = read(page);
      const said = [...text.matchAll(/(?:`|^ *\$? ?|&& |-- )carillon ([a-z-]+)/gm)].map(([, verb]) => verb);
      expect({ page, unknown: said.filter((verb) => !verbs.includes(verb ?? "")) }).toEqual({ page, unknown: [] });
      const run = [...text.matchAll(/\bnpm run ([a-z:]+)/g)].map(([, script]) => script ?? "");
      expect({ page, unknown: run.filter((script) => !Object.hasOwn(scripts, script)) }).toEqual({ page, unknown: [] });
    }
  });

  it("links to what there is", () => {
    for (const page of pages) {
      const links = [...read(page).matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)].map(([, link = ""]) => link);
      const inside = links.filter((link) => !/^[a-z]+:/.test(link));
      const broken = inside.filter((link) => !existsSync(new URL(link, new URL(page, root))));
      expect({ page, broken }).toEqual({ page, broken: [] });
    }
  });
});

describe("docs/operating.md", () => {
  it("says how many connections a node opens", () => {
    const { slots } = readConfig({}).worker;
    const [, more, worker, api] =
      /2 x `CARILLON_SLOTS` \+ (\d+) connections \((\d+)\), an API up to (\d+)/.exec(read("docs/operating.md")) ?? [];
    expect(Number(worker)).toBe(workerNodeConnections(slots));
    expect(2 * slots + Number(more)).toBe(workerNodeConnections(slots));
    expect(workerNodeConnections(slots + 1) - workerNodeConnections(slots)).toBe(2);
    expect(Number(api)).toBe(apiNodeConnections);
  });

  const variables = rowsOf("docs/operating.md", /^`[A-Z_]+`$/).map(([name = "", preset = ""]) => ({
    name: name.slice(1, -1),
    preset,
  }));

  it("lists the variables that are read", () => {
    const known = [...read("src/config.ts").matchAll(/^ {2}([A-Z][A-Z_]+):/gm)].map(([, name]) => name);
    expect(known.length).toBeGreaterThan(20);
    expect(variables.map(({ name }) => name).sort()).toEqual(known.sort());
  });

  it("gives their defaults", () => {
    const unset = readConfig({ CARILLON_NODE_NAME: "x" });
    for (const { name, preset } of variables) {
      if (preset === "none" || name === "CARILLON_NODE_NAME") continue;
      expect({ name, config: readConfig({ CARILLON_NODE_NAME: "x", [name]: preset }) }).toEqual({
        name,
        config: unset,
      });
    }
  });
});

describe("the image", () => {
  it("holds the page that carillon sql reads", () => {
    expect(read("Dockerfile")).toMatch(/^COPY docs\/inspection\.md docs\/inspection\.md$/m);
    expect(read("src/cli/sql.ts")).toContain('"../../docs/inspection.md"');
  });
});

interface Example {
  readonly type: string;
  readonly timestamp: string;
  readonly data: Record<string, unknown> & {
    readonly reminders?: readonly ({ id: string; user: string } & Record<string, unknown>)[];
  };
}

describe("docs/channels/webhook.md", () => {
  const [single = "", batch = "", mixed = "", reply = ""] = blocksOf("docs/channels/webhook.md", "json");
  const [headers = ""] = blocksOf("docs/channels/webhook.md", "http");
  const header = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(headers)?.[1];
  const secret = /whsec_[A-Za-z0-9+/]+=*/.exec(read("docs/channels/webhook.md"))?.[0] ?? "";
  const one: Example = JSON.parse(single);

  function momentOf({ data }: Example): Moment {
    return {
      topic: String(data.topic),
      scheduleId: String(data.schedule),
      occurrence: String(data.occurrence),
      dueAt: String(data.dueAt),
      expiresAt: String(data.expiresAt),
      bucketId: String(data.bucket),
      groupNumber: Number(data.group),
      node: header("carillon-node") ?? "",
      priority: "high",
    };
  }

  const messageOf = ({ data }: Pick<Example, "data">): Message => ({
    title: String(data.title),
    body: String(data.body),
    data: data.data,
    image: typeof data.image === "string" ? data.image : null,
    sound: typeof data.sound === "string" ? data.sound : null,
    link: typeof data.link === "string" ? data.link : null,
  });
  const deliveryOf = (id: unknown, address: unknown, message: Message): Delivery => ({
    deliveryId: String(id),
    attempt: 0,
    address: String(address),
    destinationId: 1,
    zone: null,
    locale: null,
    message,
  });

  it("shows the bodies as they are sent", () => {
    const body = momentBodies(momentOf(one)).single(deliveryOf(one.data.id, one.data.user, messageOf(one)));
    expect(body.toString()).toBe(JSON.stringify(one));
    const many: Example = JSON.parse(batch);
    const members = (many.data.reminders ?? []).map(({ id, user }) => deliveryOf(id, user, messageOf(many)));
    expect(members).toHaveLength(2);
    expect(momentBodies(momentOf(many)).batch(members, 0).toString()).toBe(JSON.stringify(many));
  });

  it("shows a batch whose users read different words", () => {
    const many: Example = JSON.parse(mixed);
    const members = (many.data.reminders ?? []).map((reminder) =>
      deliveryOf(reminder.id, reminder.user, messageOf("title" in reminder ? { data: reminder } : many)),
    );
    expect(momentBodies(momentOf(many)).batch(members, 0).toString()).toBe(JSON.stringify(many));
  });

  it("shows headers that belong to that body", () => {
    const id = deliveryId(String(one.data.schedule), String(one.data.occurrence), "42", 1);
    expect(one.data.id).toBe(id);
    expect(header("webhook-id")).toBe(webhookId(id));
    const timestamp = header("webhook-timestamp") ?? "";
    expect(Number(timestamp)).toBe(Date.parse(one.timestamp) / 1000);
    const signature = signer([secret])(webhookId(id), timestamp, Buffer.from(JSON.stringify(one)));
    expect(header("webhook-signature")).toBe(signature);
  });

  it("shows a reply to a batch that is understood", () => {
    const ids: string[] = JSON.parse(reply).results.map(({ id }: { id: string }) => id);
    const answered = { status: 200, retryAfter: undefined, date: undefined, whole: true, cutShort: "" };
    const outcomes = batchOutcomes(
      { kind: "answered", reply: { ...answered, body: Buffer.from(reply) } },
      [...ids, "unnamed"],
      0,
    );
    expect(outcomes).toEqual([
      { kind: "rejected", reason: "no such user", status: 200 },
      { kind: "retry", reason: "named retry", status: 200, retryAfterMs: 5000 },
      { kind: "accepted" },
    ]);
  });

  it("shows a receiver that takes what is signed, tells repeats, and refuses the rest", async () => {
    const [program = ""] = blocksOf("docs/channels/webhook.md", "js");
    const receiver = spawn(process.execPath, ["--input-type=module", "--eval", program], {
      cwd: root,
      env: { PATH: process.env.PATH, PORT: "0", WEBHOOK_SECRET: secret },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const exited = once(receiver, "exit");
    const lines: string[] = [];
    const said = createInterface(receiver.stdout).on("line", (line) => lines.push(line));
    const channel = createWebhookChannel({ policy: { allowLoopback: true }, connectionsPerHost: 1 });
    try {
      const [listening] = await once(said, "line");
      const url = `http://127.0.0.1:${/\d+$/.exec(String(listening))?.[0]}/`;
      const destination = {
        channel: "webhook" as const,
        destinationId: 1,
        name: "docs",
        url,
        secrets: [secret],
        batchSize: 1,
      };
      const kindsOf = async (to: typeof destination, ...users: string[]) =>
        (await sendAll(channel, to, deliveriesTo(...users))).outcomes.map((outcome) => outcome?.kind);
      expect(await kindsOf(destination, "alice")).toEqual(["accepted"]);
      // the ids are those of their positions: alice's comes again
      const batches = { ...destination, destinationId: 2, batchSize: 10 };
      expect(await kindsOf(batches, "alice", "bob")).toEqual(["accepted", "accepted"]);
      const forger = { ...destination, destinationId: 3, secrets: [`whsec_${Buffer.alloc(32).toString("base64")}`] };
      expect(await kindsOf(forger, "mallory")).toEqual(["auth"]);
    } finally {
      await channel.close();
      receiver.kill("SIGTERM");
      await exited;
    }
    const { title } = someMessage;
    expect(lines.slice(1)).toEqual([`alice: ${title}`, `bob: ${title}`]);
  });
});

describe("docs/time.md", () => {
  it("lists the parameters of prayer times, with their defaults", () => {
    const parameters = rowsOf("docs/time.md", /^`(method|madhab|highLatitudeRule|adjustments)`$/);
    const wordsOf = (text = "") => [...text.matchAll(/`(\w+)`/g)].map(([, word]) => word);
    const said = new Map(
      parameters.map(([name = "", preset = "", values]) => [name.slice(1, -1), { preset, words: wordsOf(values) }]),
    );
    const defaults: Record<string, unknown> = { ...parsePrayerTimetable({}) };
    const { kind: _, ...withoutKind } = defaults;
    expect([...said.keys()]).toEqual(Object.keys(withoutKind));
    for (const [name, { preset }] of said) {
      const value = defaults[name];
      expect({ name, preset }).toEqual({
        name,
        preset: value === null ? "null" : `\`${typeof value === "string" ? value : JSON.stringify(value)}\``,
      });
    }
    expect([defaults.method, ...(said.get("method")?.words ?? [])]).toEqual([...prayerMethods, byCountry]);
    expect([defaults.madhab, ...(said.get("madhab")?.words ?? [])]).toEqual([...madhabs, byCountry]);
    expect(said.get("highLatitudeRule")?.words).toEqual(highLatitudeRules);
  });

  it("lists why a moment is not sent, and what a preview notes", () => {
    const codesIn = (file: string, union: RegExp) =>
      [...(union.exec(read(file))?.[0] ?? "").matchAll(/"([a-z_]+)"/g)].map(([, code = ""]) => code);
    const said = [
      ...(read("docs/time.md")
        .split("## Preview and explain")[1]
        ?.matchAll(/^\|(.*?)\|/gm) ?? []),
    ]
      .flatMap(([, cell = ""]) => [...cell.matchAll(/`([a-z]+_[a-z_]+|missed|cancelled|expired|refused|unreadable)`/g)])
      .map(([, code = ""]) => code);
    const known = [
      ...codesIn("src/planner/why-not.ts", /export type WhyNotCode =[^;]*;/),
      ...codesIn("src/timetable/wall-time-notes.ts", /interface WallTimeNote \{[^}]*\}/),
      "on_another_date",
      "unreadable",
    ];
    expect(known.length).toBeGreaterThan(15);
    expect(said.sort()).toEqual(known.sort());
  });

  it("lists the kinds of timetables, and the slots of those that have fixed ones", () => {
    const rows = rowsOf("docs/time.md", /^`(prayer|sun|weekly|table)`$/);
    expect(rows.map(([kind = ""]) => kind.slice(1, -1))).toEqual(timetableKinds);
    const slotsIn = (row: string[] | undefined) => [...(row?.[1] ?? "").matchAll(/`(\w+)`/g)].map(([, slot]) => slot);
    expect(slotsIn(rows[0])).toEqual(prayerSlots);
    expect(slotsIn(rows[1])).toEqual(sunSlots);
  });

  it("gives each country its defaults", () => {
    const rows = rowsOf("docs/time.md", /^[A-Z]{2}(, [A-Z]{2})*$/);
    const listed = rows.flatMap(([countries = "", method, madhab]) =>
      countries.split(", ").map((country) => ({ country, method, madhab })),
    );
    expect(listed.map(({ country }) => country)).toEqual(countriesWithDefaults);
    for (const { country, method, madhab } of listed) {
      const usual = prayerDefaults(country);
      expect({ country, method, madhab }).toEqual({
        country,
        method: `\`${usual.method}\``,
        madhab: `\`${usual.madhab}\``,
      });
    }
  });

  it("has opening hours and a table that can be posted as they stand", () => {
    const [hours = ""] = blocksOf("docs/time.md", "json").filter((block) => block.includes("opens"));
    expect(weeklySlots(parseWeeklyTimetable(JSON.parse(hours)))).toContain("closes:1");
    const [csv = ""] = blocksOf("docs/time.md", "csv");
    expect(parseTableCsv(csv).slots).toEqual(["fajr", "isha"]);
    const inline = /`(\{"slots": .*?\}\}\})`/.exec(read("docs/time.md"))?.[1] ?? "";
    expect(parseTimetable("table", JSON.parse(inline)).kind).toBe("table");
  });

  it("lists each reason for which a slot has no time", () => {
    const listed = rowsOf("docs/time.md", /^`[a-z]+(_[a-z]+)*`$/).map(([reason = "", meaning]) => [
      reason.slice(1, -1),
      meaning,
    ]);
    const known = new Set(Object.keys(noTimeReasons));
    expect(Object.fromEntries(listed.filter(([reason = ""]) => known.has(reason)))).toEqual(noTimeReasons);
  });

  it("gives the tolerances that the tests hold the sun to", () => {
    const rows = rowsOf("docs/time.md", /^\d+$/).map((row) => row.map(Number));
    expect(rows).toEqual(bands.map(({ from, sun, prayer, asr, grazing }) => [from, sun, prayer, asr, grazing]));
  });
});

describe("docs/importing.md", () => {
  it("shows files and commands that do what it says", { timeout: 120_000 }, async () => {
    await using test = await createTestDatabase();
    await using directory = await temporaryDirectory();
    const at = (name: string) => join(directory.path, name);
    const page = read("docs/importing.md");
    const shown = [...page.matchAll(/^`([\w.-]+)`(?: then says)?:\n```(?:csv|json)\n([\s\S]*?)^```$/gm)];
    const files = new Map(shown.map(([, name = "", text = ""]) => [name, text]));
    expect(files.size).toBeGreaterThanOrEqual(7);
    for (const [name, text] of files) if (name !== "left-out.ndjson") writeFileSync(at(name), text);
    writeFileSync(at("users.csv.gz"), gzipSync(files.get("users.csv") ?? ""));
    writeFileSync(at("cities500.txt"), `${geonamesLine({})}\n`);
    await createTopic(test.database, "livestream", {});
    const { pool } = test.database;
    await pool.query(
      `insert into carillon.destinations (name, url, sealed_secrets)
       values ('app', 'https://receiver.example/', array['\\x00'::bytea])`,
    );

    const commands = blocksOf("docs/importing.md", "sh").flatMap((block) => block.trimEnd().split("\n"));
    expect(commands.length).toBeGreaterThanOrEqual(9);
    const program = fileURLToPath(new URL("src/cli/main.ts", root));
    for (const command of commands) {
      const script = `set -e; carillon() { "${process.execPath}" "${program}" "$@"; }; ${command}`;
      const run = spawn("sh", ["-c", script], {
        cwd: directory.path,
        env: { PATH: process.env.PATH, DATABASE_URL: test.url },
        stdio: ["ignore", "pipe", "pipe"],
      });
      const [stderr, [code]] = await Promise.all([text(run.stderr), once(run, "exit")]);
      expect({ command, code, stderr }).toMatchObject({ command, code: 0 });
    }

    expect(readFileSync(at("left-out.ndjson"), "utf8")).toBe(files.get("left-out.ndjson"));
    const [count = ""] = /[\d,]+(?= cities that come)/.exec(page) ?? [];
    const { rows } = await pool.query(
      `select (select count(*)::int from carillon.users) as users,
              (select count(*)::int from carillon.endpoints) as endpoints,
              (select count(*)::int from carillon.subscriptions) as subscriptions,
              (select count(*)::int from carillon.places where key = 'de-berlin' or key = 'geonames-2950159') as berlins,
              (select count(*)::int from carillon.places) as places`,
    );
    const places = Number(count.replaceAll(",", "")) + 3;
    expect(rows).toEqual([{ users: 3, endpoints: 2, subscriptions: 2, berlins: 2, places }]);
    const [suggested = ""] = blocksOf("docs/importing.md", "sql");
    expect((await pool.query(suggested)).rows).toEqual([
      { key: "ushuaia", name: "Ushuaia", zone: "America/Punta_Arenas" },
    ]);
  });

  it("lists the columns that there are", () => {
    const said = rowsOf("docs/importing.md", /^`[a-z]{4,}`$/).map(([kind = "", columns = ""]) => [
      kind.slice(1, -1),
      [...columns.matchAll(/`([a-z_]+)`(?!\))/g)].map(([, name]) => name),
    ]);
    const ways = rowsOf("docs/importing.md", /^`(at|time|place)`/).flatMap(([columns = "", , more = ""]) =>
      [...`${columns} ${more}`.matchAll(/`([a-z_]+)`/g)].map(([, name]) => name),
    );
    for (const [name, columns] of said) {
      const kind = Object.values(kinds).find((each) => each.name === name);
      if (kind?.columns === null || !Array.isArray(columns)) continue;
      const all = name === "subscriptions" ? [...columns, ...ways] : columns;
      expect({ name, all: all.toSorted() }).toEqual({ name, all: Object.keys(kind?.columns?.known ?? {}).toSorted() });
    }
    expect(said.map(([name]) => name).toSorted()).toEqual(Object.keys(kinds).toSorted());
  });
});

async function temporaryDirectory(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), "carillon-test-docs-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
