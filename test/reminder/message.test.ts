import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { canonicalLocale, localeChain } from "../../src/reminder/locale.ts";
import { type Message, type MessageSource, type Reader, readMessage } from "../../src/reminder/message.ts";
import { faultsIn } from "../../src/reminder/message-check.ts";

const moment = { dueAt: "2026-11-24T18:00:00.000Z", occurrence: "2026-11-24T18:00:00Z", placeName: null };
const ada = { userId: "ada", zone: "Europe/Berlin", locale: "de-DE" };
const bob = { userId: "bob", zone: "America/New_York", locale: "en-US" };

function topic(texts: Partial<MessageSource>): MessageSource {
  const nothing = { data: null, image: null, sound: null, link: null, variants: null };
  return { name: "launch", title: "", body: "", locale: "en", ...nothing, ...texts };
}

function messageFor(source: MessageSource, reader: Reader, at = moment): Message {
  const written = readMessage(source).writerOf(at).messageFor(reader);
  if (written.kind === "fault") throw new Error(written.reason);
  return written.message;
}

/** ICU puts narrow and other spaces that don't break; on the page they are plain. */
const plain = (text: string) => text.replaceAll(/[\u202f\u00a0]/g, " ");

describe("docs/messages.md", () => {
  const page = readFileSync(new URL("../../docs/messages.md", import.meta.url), "utf8");
  const readers = new Map(
    [...page.matchAll(/^\| (ada|bob|kei|zoe) \| (\S*) ?\| (\S*) ?\|$/gm)].map(([, name = "", zone, locale]) => [
      name,
      { userId: name, zone: zone || null, locale: locale || null },
    ]),
  );
  const blocks = [...page.matchAll(/^```(liquid|text|json)\n([\s\S]*?)\n```$/gm)];

  it("shows what is rendered", () => {
    expect(readers.size).toBe(4);
    let compared = 0;
    let source: MessageSource | null = null;
    for (const [, kind, text = ""] of blocks) {
      if (kind === "liquid") source = topic({ title: text });
      if (kind === "json") source = topic(JSON.parse(text));
      if (kind !== "text" || source === null) continue;
      expect(faultsIn(source as object)).toEqual([]);
      for (const line of text.split("\n")) {
        const [name = "", said] = line.split(/: (.*)/);
        const reader = readers.get(name);
        if (reader === undefined) throw new Error(`no reader ${name}`);
        const { title, body, link } = messageFor(source, reader);
        const words = source.body === "" ? title : `${title} / ${body} / ${link}`;
        expect(plain(`${name}: ${words}`)).toBe(`${name}: ${said}`);
        compared += 1;
      }
    }
    expect(compared).toBeGreaterThan(20);
  });

  it("names the filters that there are", () => {
    const [, list = ""] = /Filters beside those\nabove: ([\s\S]*?)\. Nothing/.exec(page) ?? [];
    const named = [...list.matchAll(/`(\w+)`/g)].map(([, name = ""]) => name);
    expect(named.length).toBeGreaterThan(30);
    for (const name of named) {
      const faults = faultsIn({ title: `{% if false %}{{ "1" | ${name}: 1, 2 }}{% endif %}` });
      expect(faults, name).toEqual([]);
    }
  });
});

describe("a language", () => {
  it("is looked for from the most particular tag to its language", () => {
    expect(localeChain("zh-Hant-TW")).toEqual(["zh-Hant-TW", "zh-Hant", "zh"]);
    expect(localeChain("en-u-ca-buddhist")).toEqual(["en-u-ca-buddhist", "en-u-ca", "en"]);
    expect(localeChain("de")).toEqual(["de"]);
  });

  it.each([
    ["pt-br", "pt-BR"],
    ["pt_BR", "pt-BR"],
    ["iw", "he"],
    ["", null],
    ["not a tag", null],
    ["a", null],
  ])("written %j is %j", (tag, canonical) => {
    expect(canonicalLocale(tag)).toBe(canonical);
  });

  it("gives what it has of its own, and the next one the rest", () => {
    const source = topic({
      title: "title",
      body: "body",
      link: "https://example.com/",
      data: { a: 1 },
      variants: { de: { title: "Titel", link: null }, "de-AT": { body: "Leib" } },
    });
    const as = (locale: string | null) => messageFor(source, { ...ada, locale });
    expect(as("de-AT")).toMatchObject({ title: "Titel", body: "Leib", link: null, data: { a: 1 } });
    expect(as("de-CH")).toMatchObject({ title: "Titel", body: "body", link: null });
    expect(as("DE_at")).toEqual(as("de-AT"));
    for (const locale of ["fr", "nonsense tag", "", null]) expect(as(locale).title).toBe("title");
  });

  it("counts by its own rules, whatever the reader's are", () => {
    const words = '{{ 1 | plural: one: "item", other: "items" }} {{ "2" | plural: one: "item", other: "items" }}';
    expect(messageFor(topic({ title: words }), { ...ada, locale: "ja" }).title).toBe("item items");
    const few = '{{ 3 | plural: one: "поток", few: "потока", other: "потоков" }}';
    const variants = { ru: { title: few } };
    expect(messageFor(topic({ title: "x", variants }), { ...ada, locale: "ru-RU" }).title).toBe("потока");
  });
});

describe("a message", () => {
  it("survives zones and locales that are none", () => {
    const source = topic({ title: "{{ due | time }} {{ user.zone }} {{ user.locale }}" });
    const written = messageFor(source, { userId: "x", zone: "Mars/Olympus", locale: "no such" });
    expect(plain(written.title)).toBe("6:00 PM UTC en");
  });

  it("renders strings inside data, and hands everything else on as the same object", () => {
    const data = { when: "{{ due | date: 'yyyy' }}", deep: [{ "{{ key }}": "{{ user.id }}", n: 1 }, null, true] };
    const { data: rendered } = messageFor(topic({ data }), ada);
    expect(rendered).toEqual({ when: "2026", deep: [{ "{{ key }}": "ada", n: 1 }, null, true] });
    const plainData = { a: ["x", { b: 2 }] };
    expect(messageFor(topic({ data: plainData, title: "{{ user.id }}" }), ada).data).toBe(plainData);
  });

  it("has no picture, sound or link where they come out empty", () => {
    const texts = { image: " {% if user.id == 'bob' %}https://x.test/{% endif %} ", sound: "{{ place.name }}" };
    expect(messageFor(topic(texts), ada)).toMatchObject({ image: null, sound: null });
    expect(messageFor(topic(texts), bob)).toMatchObject({ image: "https://x.test/", sound: null });
  });

  it("that can't be rendered for one is rendered for the others", () => {
    const source = topic({ title: "{% assign n = user.id | size %}{{ due | add_minutes: user.id | time }}{{ n }}" });
    const writer = readMessage(source).writerOf(moment);
    expect(writer.messageFor(ada)).toEqual({
      kind: "fault",
      reason: "the topic's title can't be rendered: add_minutes needs a number of minutes",
    });
    expect(writer.messageFor({ ...ada, userId: "15" }).kind).toBe("message");
  });

  it("written by another program may be of any form", () => {
    const variants = { de: { title: 7, body: "ok" }, fr: "text", "??": { title: "x" }, es: null, ja: { data: "{{" } };
    const writer = readMessage(topic({ title: "own", variants })).writerOf(moment);
    const as = (locale: string) => writer.messageFor({ ...ada, locale });
    expect(as("de")).toMatchObject({ kind: "fault", reason: expect.stringContaining("must be text") });
    expect(as("ja")).toMatchObject({ kind: "fault", reason: expect.stringContaining("data") });
    for (const locale of ["fr", "es", "en"]) expect(as(locale)).toMatchObject({ message: { title: "own" } });
    expect(
      readMessage(topic({ variants: ["x"] }))
        .writerOf(moment)
        .messageFor(ada).kind,
    ).toBe("message");
  });
});

describe("who reads the same", () => {
  const variants = { de: { title: "Titel" } };

  it("shares one object over moments where the words depend on nothing", () => {
    const template = readMessage(topic({ title: "{{ topic.name | upcase }}", variants }));
    const [one, other] = [
      template.writerOf(moment),
      template.writerOf({ ...moment, dueAt: "2030-01-01T00:00:00.000Z" }),
    ];
    const english = one.messageFor(bob);
    expect(english).toMatchObject({ message: { title: "LAUNCH" } });
    expect(other.messageFor({ ...bob, zone: "Asia/Tokyo", locale: "fr" })).toBe(english);
    expect(other.messageFor(ada)).toBe(one.messageFor({ ...ada, userId: "other", locale: "de-AT" }));
    expect(one.messageFor(ada)).not.toBe(english);
  });

  it("shares one object within a moment by zone and locale where it shows times", () => {
    const writer = readMessage(topic({ title: "{{ due | time }}" })).writerOf(moment);
    const first = writer.messageFor(ada);
    expect(writer.messageFor({ ...ada, userId: "carl" })).toBe(first);
    expect(writer.messageFor({ ...ada, zone: "Europe/Lisbon" })).toMatchObject({ message: { title: "18:00" } });
    expect(plain((writer.messageFor({ ...ada, locale: "en-US" }) as { message: Message }).message.title)).toBe(
      "7:00 PM",
    );
    expect(writer.messageFor(ada)).toBe(first);
  });

  it("shares one object whatever the zone where only the moment's own is shown", () => {
    const writer = readMessage(topic({ title: "{{ occurrence }}{{ place.name }}" })).writerOf(moment);
    expect(writer.messageFor(bob)).toBe(writer.messageFor(ada));
  });

  it("shares nothing where it names the user", () => {
    const writer = readMessage(
      topic({ title: "{% case user['id'] %}{% when 'ada' %}A{% else %}B{% endcase %}" }),
    ).writerOf(moment);
    expect(writer.messageFor(ada)).toMatchObject({ message: { title: "A" } });
    expect(writer.messageFor(bob)).toMatchObject({ message: { title: "B" } });
  });

  it("is told the same however many others were written to in between", () => {
    const writer = readMessage(topic({ title: "{{ due | time }} {{ user.locale }}" })).writerOf(moment);
    const before = writer.messageFor(ada);
    for (let n = 0; n < 2_500; n += 1) writer.messageFor({ ...ada, locale: `de-x-${n}` });
    expect(writer.messageFor(ada)).toEqual(before);
  });
});

describe("a template that is refused", () => {
  const bomb = "{% for i in (1..2000) %}{% for j in (1..2000) %}{{ due }}{% endfor %}{% endfor %}";
  const doubling = `{% assign a = "xxxxxxxx" %}${"{% assign a = a | append: a %}".repeat(60)}{{ a }}`;
  const nested = `{% assign l = "${"a,".repeat(4_000)}" | split: "," %}${"{% for x in l %}".repeat(6)}x${"{% endfor %}".repeat(6)}`;

  it.each([
    ["an unknown variable", "Hi\n  {{ user.name }}", 2, 6, /no variable user\.name/],
    ["an unknown root", "{{ price }}", 1, 4, /no variable price/],
    ["a whole object", "{{ user }}", 1, 4, /no variable user:/],
    ["a prototype", "{{ user.constructor }}", 1, 4, /no variable/],
    ["a variable that is only known later", "{{ user[topic.name] }}", 1, 4, /no variable/],
    ["a name that comes from a value", "{{ [user.id] }}", 1, 4, /undefined variable/],
    ["a variable given another value", "{% assign due = 1 %}", 1, 11, /due can't be given/],
    [
      "a variable that isn't always there",
      "{% if user.id == 'x' %}{% assign y = 1 %}{% endif %}{{ y }}",
      1,
      56,
      /undefined/,
    ],
    ["an unknown filter", "a {{ due | shout }}", 1, 3, /undefined filter: shout/],
    ["a filter that draws at random", "{{ 'a,b' | split: ',' | sample }}", 1, 1, /undefined filter/],
    ["the clock", "{{ 'now' | date }}", 1, 1, /not an instant/],
    ["a file", "{% include '/etc/passwd' %}", 1, 1, /"include" not found/],
    ["another file", "{% render 'x' %}", 1, 1, /"render" not found/],
    ["a layout", "{% layout 'x' %}", 1, 1, /"layout" not found/],
    ["a tag that isn't closed", "{% if user.id", 1, 1, /not closed/],
    ["a block that isn't closed", "x{% if true %}", 1, 2, /not closed/],
    ["a plural without a word for others", "{{ 2 | plural: one: 'x' }}", 1, 1, /other/],
    ["a plural of a word", "{{ 'two' | plural: other: 'x' }}", 1, 1, /number/],
    ["loops in loops", bomb, 1, 25, /too much/],
    ["text that doubles", doubling, 1, null, /too much/],
    ["loops over what was split", nested, 1, null, /too much/],
    [
      "many filters in a loop",
      `{% for i in (1..5000) %}{{ i ${"| abs ".repeat(1_600)}}}{% endfor %}`,
      1,
      null,
      /too much/,
    ],
    [
      "many conditions in a loop",
      `{% for i in (1..5000) %}{% if false %}${`{% elsif ${"false or ".repeat(50)}false %}`.repeat(20)}{% endif %}{% endfor %}`,
      1,
      null,
      /too much/,
    ],
    ["a format without end", `{{ due | date: "${"FFFF".repeat(100)}" }}`, 1, 1, /100 characters/],
    ["blocks in blocks", `${"{% if true %}".repeat(600)}x${"{% endif %}".repeat(600)}`, 1, null, /too much/],
    ["a title that is too long in the end", "{% for i in (1..300) %}{{ i }}, {% endfor %}", 1, 1, /1000 characters/],
  ] as const)("for %s", (_, title, line, column, sentence) => {
    const beganMs = performance.now();
    const [fault, ...others] = faultsIn({ title });
    expect(others).toEqual([]);
    expect(fault).toMatchObject({ code: "bad_template", pointer: "/title", message: expect.stringMatching(sentence) });
    expect(fault?.position?.line).toBe(line);
    if (column !== null) expect(fault?.position?.column).toBe(column);
    // what would run for hours ends: generous, since the machine may be busy
    expect(performance.now() - beganMs).toBeLessThan(5_000);
  });

  it("is pointed at wherever it stands, each of several", () => {
    const bad = "{{ x }}";
    const found = faultsIn({
      title: "fine",
      body: bad,
      link: bad,
      data: { list: ["ok", bad], "a/b~": { deep: bad } },
      variants: { de: { title: bad, data: [bad] } },
    });
    expect(found.map(({ pointer }) => pointer)).toEqual([
      "/body",
      "/data/list/1",
      "/data/a~1b~0/deep",
      "/link",
      "/variants/de/title",
      "/variants/de/data/0",
    ]);
  });

  it("for an address of several lines", () => {
    expect(faultsIn({ link: "https://x.test/{{ 'a b' | replace: ' ', '\n' }}" })).toMatchObject([
      { code: "bad_template", message: expect.stringContaining("one line") },
    ]);
  });
});
