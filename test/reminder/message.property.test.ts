import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type MessageSource, type Reader, readMessage, type Written } from "../../src/reminder/message.ts";
import { faultsIn } from "../../src/reminder/message-check.ts";

const numRuns = process.env.CARILLON_LONG === "1" ? 50_000 : 400;

const words = fc.constantFrom("a", "Ünïcode ", "\n", "{ ", "50% ", "'", '"', "🎉", " ");
const variables = fc.constantFrom(
  "user.id",
  "user.zone",
  "user.locale",
  "topic.name",
  "place.name",
  "occurrence",
  "due",
);
const filters = fc.constantFrom(
  "upcase",
  "capitalize",
  "strip",
  "size",
  "truncate: 5",
  "append: '!'",
  "default: 'x'",
  "url_encode",
);
const outputs = fc
  .tuple(variables, fc.array(filters, { maxLength: 3 }))
  .map(([name, chain]) => `{{ ${[name, ...chain].join(" | ")} }}`);
const times = fc
  .tuple(
    fc.constantFrom("time", "date", "datetime", 'date: "cccc d LLLL yyyy HH:mm"'),
    fc.option(fc.integer({ min: -5000, max: 5000 })),
  )
  .map(([filter, minutes]) => `{{ due ${minutes === null ? "" : `| add_minutes: ${minutes} `}| ${filter} }}`);
const plurals = fc.nat({ max: 120 }).map((n) => `{{ ${n} | plural: one: "day", few: "dny", other: "days" }}`);
/** Templates that can't go wrong, whoever reads them. */
const { template } = fc.letrec<{ template: string; node: string }>((tie) => ({
  template: fc.array(tie("node"), { maxLength: 5 }).map((nodes) => nodes.join("")),
  node: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    words,
    outputs,
    times,
    plurals,
    fc
      .tuple(variables, tie("template"), tie("template"))
      .map(([name, yes, no]) => `{% if ${name} == "ada" %}${yes}{% else %}${no}{% endif %}`),
    fc
      .tuple(variables, tie("template"))
      .map(([name, some]) => `{% assign x = ${name} | size %}{% unless x > 3 %}${some}{% endunless %}`),
    fc
      .tuple(fc.integer({ min: 0, max: 3 }), tie("template"))
      .map(([n, some]) => `{% for i in (1..${n}) %}{{ i }}${some}{% endfor %}`),
  ),
}));

const readers: fc.Arbitrary<Reader> = fc.record({
  userId: fc.constantFrom("ada", "bob", "Zoë #1"),
  zone: fc.constantFrom("Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Mars/Olympus", "", null),
  locale: fc.constantFrom("de", "de-AT", "cs", "ar-EG", "pt_BR", "ja", "not a tag", "x", null),
});
const moments = fc.record({
  dueAt: fc
    .date({ min: new Date("2000-01-01T00:00:00Z"), max: new Date("2100-01-01T00:00:00Z"), noInvalidDate: true })
    .map((at) => at.toISOString()),
  occurrence: fc.constantFrom("2026-11-24T18:00:00Z", "berlin:fajr:2026-11-24"),
  placeName: fc.constantFrom("Berlin", null),
});

function topicOf(title: string, body: string, link: string): MessageSource {
  const rest = { data: { words: [link] }, image: null, sound: null, link: null, locale: "en" };
  return { ...rest, name: "launch", title: "", body: title + body, variants: { de: { body }, cs: { data: title } } };
}

describe("a message of templates that can't go wrong", () => {
  it(`is accepted, rendered for everybody, and the same as if nothing were shared, ${numRuns} times`, {
    timeout: 120_000,
  }, () => {
    fc.assert(
      fc.property(
        fc.tuple(template, template, template),
        fc.array(fc.tuple(fc.nat({ max: 1 }), readers), { minLength: 2, maxLength: 12 }),
        fc.tuple(moments, moments),
        (texts, asked, [one, other]) => {
          const source = topicOf(...texts);
          expect(faultsIn(source as object)).toEqual([]);
          const shared = readMessage(source);
          const writers = [shared.writerOf(one), shared.writerOf(other)];
          const given = new Map<Written, unknown>();
          for (const [which, reader] of asked) {
            const written = writers[which]?.messageFor(reader);
            const alone = readMessage(source)
              .writerOf(which === 0 ? one : other)
              .messageFor(reader);
            expect(written).toEqual(alone);
            if (written === undefined) throw new Error("no writer");
            // what was shared has not changed since
            expect(given.get(written) ?? JSON.stringify(written)).toBe(JSON.stringify(written));
            given.set(written, JSON.stringify(written));
            // as often as it was asked: the same object, unless it names its reader
            const again = writers[which]?.messageFor({ ...reader });
            if (shared.uses.userId) expect(again).toEqual(written);
            else expect(again).toBe(written);
            expect(written.kind === "message" || /characters/.test(written.reason)).toBe(true);
          }
        },
      ),
      { numRuns },
    );
  });
});

describe("any text at all", () => {
  const pieces = fc.constantFrom(
    "{{",
    "}}",
    "{%",
    "%}",
    " if ",
    " endif ",
    " for i in (1..9) ",
    " endfor ",
    "user.id",
    " due ",
    "|",
    " time ",
    "date",
    ":",
    "'",
    '"',
    "==",
    "assign x =",
    "x",
    "[",
    "]",
    "(",
    ")",
    ".",
    "raw",
    "endraw",
    "-",
    "\n",
    "case",
    "when",
    "1",
  );
  it("is either refused with a place in it or can be rendered", { timeout: 120_000 }, () => {
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 14 }), (parts) => {
        const title = parts.join("");
        const faults = faultsIn({ title });
        for (const { code, position } of faults) {
          expect(code).toBe("bad_template");
          expect(position?.line).toBeGreaterThanOrEqual(1);
          expect(position?.column).toBeGreaterThanOrEqual(1);
        }
        const source = { ...topicOf("", "", ""), title };
        const written = readMessage(source)
          .writerOf({ dueAt: "2026-11-24T18:00:00.000Z", occurrence: "o", placeName: null })
          .messageFor({ userId: "user-1", zone: null, locale: null });
        if (faults.length === 0) expect(written.kind).toBe("message");
      }),
      { numRuns: numRuns * 5 },
    );
  });
});
