import { canonicalLocale, localeChain } from "./locale.ts";
import { type Field, type FieldName, fieldNames, readField } from "./message-field.ts";
import { type Scope, type Uses, unionOf } from "./template.ts";
import { knownZone } from "./template-filters.ts";

/** A reminder's words as one reader gets them. */
export interface Message {
  readonly title: string;
  readonly body: string;
  /** free-form, handed on as it is */
  readonly data: unknown;
  readonly image: string | null;
  readonly sound: string | null;
  readonly link: string | null;
}

/** What a topic says: templates, from wherever topics are stored. */
export interface MessageSource extends Message {
  /** the topic's name */
  readonly name: string;
  /** the language that its own texts are written in */
  readonly locale: string;
  /** by language tag, what is said otherwise there; perhaps written by other programs, so of any form */
  readonly variants: unknown;
}

/** What is the same for all readers of one moment. */
export interface MomentFacts {
  /** RFC 3339 */
  readonly dueAt: string;
  readonly occurrence: string;
  /** the place that the schedule depends on */
  readonly placeName: string | null;
}

/** Whom a message is for. */
export interface Reader {
  /** the outside id; of account only where `uses` says so */
  readonly userId: string | null;
  /** IANA; null or none that is known: UTC */
  readonly zone: string | null;
  /** BCP 47; null or none that is well formed: the topic's own */
  readonly locale: string | null;
}

/** A message, or the sentence that says why it can't be rendered. */
export type Written =
  | { readonly kind: "message"; readonly message: Message }
  | { readonly kind: "fault"; readonly reason: string };

/** Writes the messages of one moment. */
export interface MessageWriter {
  /**
   * Readers who get the same words are given the same object, as far as that can be told without rendering: one with
   * the texts' variables, zone and locale in common. So a channel may keep what it made of one.
   */
  messageFor(reader: Reader): Written;
}

/** A topic's message, read once a version. */
export interface MessageTemplate {
  /** what any of its languages asks for */
  readonly uses: Uses;
  writerOf(moment: MomentFacts): MessageWriter;
}

/** Of one moment so many different messages are kept to be shared; with more than that, some are rendered again. */
const keptMax = 2_000;

/** Reads a topic's message. Nothing is thrown: what can't be read is told to whom it would have been written. */
export function readMessage(source: MessageSource): MessageTemplate {
  const languages = languagesOf(source);
  const own = languages.own;
  const editions = new Map<string, Edition>();
  const byLocale = new Map<string | null, Edition>();

  function findEdition(locale: string | null): Edition {
    const canonical = locale === null ? null : canonicalLocale(locale);
    const found = canonical === null ? [] : localeChain(canonical).flatMap((tag) => languages.others.get(tag) ?? []);
    const key = found.map(({ tag }) => tag).join(" ");
    const edition = editions.get(key) ?? new Edition(source.name, [...found, own], editions.size);
    editions.set(key, edition);
    return edition;
  }

  function editionFor(locale: string | null): Edition {
    let edition = byLocale.get(locale);
    if (edition === undefined) {
      edition = findEdition(locale);
      if (byLocale.size >= keptMax) byLocale.clear();
      byLocale.set(locale, edition);
    }
    return edition;
  }

  const only = languages.others.size === 0 ? editionFor(null) : null;
  const all = [own, ...languages.others.values()].flatMap(({ fields }) => [...fields.values()]);
  return {
    uses: unionOf(all.map(({ uses }) => uses)),
    writerOf(moment) {
      const kept = new Map<string, Written>();
      return {
        messageFor(reader) {
          const edition = only ?? editionFor(reader.locale);
          if (edition.constant !== null) return edition.constant;
          const { uses } = edition;
          const zone = uses.zone ? knownZone(reader.zone) : "UTC";
          const locale = uses.locale && reader.locale !== null ? canonicalLocale(reader.locale) : null;
          if (uses.userId) return edition.write(moment, reader.userId ?? "", zone, locale);
          const key = [edition.number, zone, locale].join(" ");
          let written = kept.get(key);
          if (written === undefined) {
            written = edition.write(moment, "", zone, locale);
            if (kept.size >= keptMax) kept.clear();
            kept.set(key, written);
          }
          return written;
        },
      };
    },
  };
}

/** The fields that one language has of its own. */
interface Language {
  readonly tag: string;
  readonly fields: ReadonlyMap<FieldName, Field>;
}

function languagesOf(source: MessageSource): { own: Language; others: ReadonlyMap<string, Language> } {
  const own = languageOf(canonicalLocale(source.locale) ?? "en", source);
  const others = new Map<string, Language>();
  if (typeof source.variants === "object" && source.variants !== null) {
    for (const [key, texts] of Object.entries(source.variants)) {
      const tag = canonicalLocale(key);
      if (tag !== null && typeof texts === "object" && texts !== null) others.set(tag, languageOf(tag, texts));
    }
  }
  return { own, others };
}

function languageOf(tag: string, texts: Partial<Record<FieldName, unknown>>): Language {
  const given = fieldNames.filter((name) => texts[name] !== undefined);
  return { tag, fields: new Map(given.map((name) => [name, readField(name, texts[name])])) };
}

/** What readers of some languages get: each field in the first of the languages that has it. */
class Edition {
  readonly number: number;
  readonly uses: Uses;
  /** what everybody gets, whoever and whenever; null: that depends */
  readonly constant: Written | null;
  readonly #topic: string;
  readonly #parts: readonly { readonly name: FieldName; readonly field: Field; readonly language: string }[];
  /** the language that times are written in for readers who have none of their own */
  readonly #language: string;

  constructor(topic: string, languages: readonly Language[], number: number) {
    this.number = number;
    this.#topic = topic;
    this.#language = languages[0]?.tag ?? "en";
    this.#parts = fieldNames.flatMap((name) => {
      const language = languages.find(({ fields }) => fields.has(name));
      const field = language?.fields.get(name);
      return language === undefined || field === undefined ? [] : [{ name, field, language: language.tag }];
    });
    this.uses = unionOf(this.#parts.map(({ field }) => field.uses));
    const depends = Object.values(this.uses).some((used) => used);
    this.constant = depends ? null : this.#write({ topic: { name: topic }, user: {} }, "UTC", this.#language);
  }

  write(moment: MomentFacts, userId: string, zone: string, readersLocale: string | null): Written {
    const { uses } = this;
    const locale = readersLocale ?? this.#language;
    // Rendering is shown no more than the texts use: what is shared can't tell one reader's things to another.
    const scope: Scope = {
      topic: { name: this.#topic },
      user: {
        ...(uses.userId ? { id: userId } : {}),
        ...(uses.zone ? { zone } : {}),
        ...(uses.locale ? { locale } : {}),
      },
      ...(uses.moment ? { due: moment.dueAt, occurrence: moment.occurrence } : {}),
      ...(uses.place ? { place: { name: moment.placeName } } : {}),
    };
    return this.#write(scope, zone, locale);
  }

  #write(scope: Scope, zone: string, locale: string): Written {
    const message: Record<FieldName, unknown> = {
      title: "",
      body: "",
      data: null,
      image: null,
      sound: null,
      link: null,
    };
    for (const { name, field, language } of this.#parts) {
      try {
        message[name] = field.render(scope, { zone, locale, language });
      } catch (error) {
        // whatever it is: one reader's message must not keep the others from theirs
        const why = error instanceof Error ? error.message : String(error);
        return { kind: "fault", reason: `the topic's ${name} can't be rendered: ${why}` };
      }
    }
    return { kind: "message", message: message as unknown as Message };
  }
}
