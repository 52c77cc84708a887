/*
 * Text with Liquid in it (liquidjs). Rendering depends on what is handed in and on nothing else: there are no files, no
 * clock, no chance and no environment, and how much one rendering may do is counted, not timed.
 */
import {
  type Context,
  type Emitter,
  Liquid,
  LiquidError,
  filters as liquidFilters,
  type Template,
  tags,
} from "liquidjs";
import { type FilterSettings, localFilters, plainFilters, type TextFilter } from "./template-filters.ts";

/** What of a reader and a moment a text asks for. Rendering does not get to see anything else. */
export interface Uses {
  readonly userId: boolean;
  readonly zone: boolean;
  readonly locale: boolean;
  /** the moment's own: due, occurrence */
  readonly moment: boolean;
  readonly place: boolean;
}

export const usesNothing: Uses = { userId: false, zone: false, locale: false, moment: false, place: false };

export function unionOf(some: readonly Uses[]): Uses {
  return {
    userId: some.some(({ userId }) => userId),
    zone: some.some(({ zone }) => zone),
    locale: some.some(({ locale }) => locale),
    moment: some.some(({ moment }) => moment),
    place: some.some(({ place }) => place),
  };
}

/** What a text is rendered with: as much of it as the text uses. */
export interface Scope {
  readonly topic: { readonly name: string };
  readonly user: { readonly id?: string; readonly zone?: string; readonly locale?: string };
  readonly due?: string;
  readonly occurrence?: string;
  readonly place?: { readonly name: string | null };
}

/** Why a text can't be rendered, and where in it. */
export class TemplateFault extends Error {
  override readonly name = "TemplateFault";
  readonly line: number;
  readonly column: number;

  constructor(sentence: string, line: number, column: number) {
    super(sentence);
    this.line = line;
    this.column = column;
  }
}

export interface Text {
  readonly uses: Uses;
  /** it can't be rendered for anybody */
  readonly fault: TemplateFault | null;
  /** @throws TemplateFault */
  render(scope: Scope, settings: FilterSettings): string;
}

/** Characters of one text that has Liquid in it. */
export const templateLengthMax = 20_000;
/**
 * What one rendering may cost: one for each character that a filter works on, and for each part of a template that is
 * rendered `partCost` and a tenth of its length. So loops end, and a rendering takes a fraction of a second at most,
 * whatever the machine is doing (a limit on time would have reminders refused because a process was stopped for a second).
 */
const renderCostMax = 50_000;
const partCost = 20;
const charsPerCost = 10;

/**
 * No tags that read other files or change what the next rendering sees; no capture, whose result nothing counts
 * (thirty lines that double it make a gigabyte).
 */
const allowedTags = [
  "assign",
  "break",
  "case",
  "comment",
  "continue",
  "echo",
  "for",
  "if",
  "raw",
  "unless",
  "#",
] as const;
/** No filters that look at the clock, draw at random, or take expressions as text (what they use could not be told). */
const allowedFilters = [
  ...[
    "abs",
    "append",
    "at_least",
    "at_most",
    "capitalize",
    "ceil",
    "default",
    "divided_by",
    "downcase",
    "first",
    "floor",
  ],
  ...[
    "join",
    "last",
    "lstrip",
    "minus",
    "modulo",
    "plus",
    "prepend",
    "remove",
    "remove_first",
    "replace",
    "replace_first",
  ],
  ...["round", "rstrip", "size", "slice", "split", "strip", "strip_newlines", "times", "truncate", "truncatewords"],
  ...["upcase", "url_encode"],
] as const;

const settingsKey = Symbol("settings");
/** Whether the text that is being parsed looks a filter up that needs the reader's zone and locale. */
let localFilterSeen = false;
const engine = createEngine();

function createEngine(): Liquid {
  const liquid = new Liquid({
    strictVariables: true,
    strictFilters: true,
    ownPropertyOnly: true,
    dynamicPartials: false,
    parseLimit: templateLengthMax,
    memoryLimit: renderCostMax,
    // nothing asks for files any more; should something, it finds none
    templates: {},
  });
  for (const name of Object.keys(tags)) if (!isOneOf(allowedTags, name)) delete liquid.tags[name];
  for (const name of Object.keys(liquidFilters)) if (!isOneOf(allowedFilters, name)) liquid.unregisterFilter(name);
  for (const [name, filter] of Object.entries(plainFilters)) liquid.registerFilter(name, withSettings(filter));
  for (const [name, filter] of Object.entries(localFilters)) {
    const handler = withSettings(filter);
    // parsing looks a filter up by its name: the one place where a text's filters are seen for sure
    Object.defineProperty(liquid.filters, name, {
      get() {
        localFilterSeen = true;
        return handler;
      },
    });
  }
  const { renderer } = liquid;
  const renderTemplates = renderer.renderTemplates.bind(renderer);
  renderer.renderTemplates = (templates: Template[], context: Context, emitter?: Emitter) => {
    context.memoryLimit.use(costOf(templates));
    return renderTemplates(templates, context, emitter);
  };
  return liquid;
}

const costs = new WeakMap<readonly Template[], number>();

/** A block's own length is not kept by liquidjs, so the last one of its neighbours is counted to the text's end. */
function costOf(templates: readonly Template[]): number {
  let cost = costs.get(templates);
  if (cost === undefined) {
    const [first] = templates;
    const chars = first === undefined ? 0 : first.token.input.length - first.token.begin;
    cost = partCost * (1 + templates.length) + chars / charsPerCost;
    costs.set(templates, cost);
  }
  return cost;
}

function isOneOf(names: readonly string[], name: string): boolean {
  return names.includes(name);
}

function withSettings(filter: TextFilter) {
  return function (this: { context: Context }, value: unknown, ...args: unknown[]): string {
    const scope = this.context.environments as { [settingsKey]?: FilterSettings };
    const settings = scope[settingsKey];
    if (settings === undefined) throw new Error("rendered without settings");
    return filter(settings, value, ...args);
  };
}

/** Reads a text; one without Liquid in it stays as it is, to the last character. */
export function readText(text: string): Text {
  if (!/\{[{%]/.test(text)) return { uses: usesNothing, fault: null, render: () => text };
  let template: Template[];
  let uses: Uses;
  try {
    localFilterSeen = false;
    template = engine.parse(text);
    uses = usesOf(template, localFilterSeen);
  } catch (error) {
    return faulty(faultOf(error));
  }
  return {
    uses,
    fault: null,
    render(scope, settings) {
      try {
        return String(engine.renderSync(template, { ...scope, [settingsKey]: settings }));
      } catch (error) {
        throw faultOf(error);
      }
    },
  };
}

/** A text that says nothing but its fault. */
export function faulty(fault: TemplateFault): Text {
  return {
    uses: usesNothing,
    fault,
    render() {
      throw fault;
    },
  };
}

/** The variables that there are, and what each is of. */
const known: ReadonlyMap<string, keyof Uses | null> = new Map([
  ["user.id", "userId"],
  ["user.zone", "zone"],
  ["user.locale", "locale"],
  ["due", "moment"],
  ["occurrence", "moment"],
  ["place.name", "place"],
  ["topic.name", null],
] as const);
const roots = new Set([...known.keys()].map((name) => name.split(".")[0] ?? name));

/** @throws TemplateFault when it asks for what there is not */
function usesOf(template: Template[], localFilter: boolean): Uses {
  const { variables, globals, locals } = engine.analyzeSync(template, { partials: false });
  for (const [name, [first]] of Object.entries(locals)) {
    if (roots.has(name)) throw faultAt(`${name} can't be given another value`, first?.location);
  }
  for (const unknown of Object.values(globals).flat()) {
    const path = pathOf(unknown.segments);
    if (path === null || !known.has(path)) {
      throw faultAt(
        `There is no variable ${String(unknown)}: there are ${[...known.keys()].join(", ")}`,
        unknown.location,
      );
    }
  }
  const used = new Set(
    Object.values(variables)
      .flat()
      .map(({ segments }) => known.get(pathOf(segments) ?? "")),
  );
  return {
    userId: used.has("userId"),
    zone: used.has("zone") || localFilter,
    locale: used.has("locale") || localFilter,
    moment: used.has("moment"),
    place: used.has("place"),
  };
}

/** "user.id", also of `user["id"]` and `user.id.size`; null where it is only known when rendering. */
function pathOf(segments: readonly unknown[]): string | null {
  const names = segments.at(-1) === "size" ? segments.slice(0, -1) : segments;
  return names.every((name) => typeof name === "string") ? names.join(".") : null;
}

function faultAt(sentence: string, at: { readonly row: number; readonly col: number } | undefined): TemplateFault {
  return new TemplateFault(sentence, at?.row ?? 1, at?.col ?? 1);
}

function faultOf(error: unknown): TemplateFault {
  if (error instanceof TemplateFault) return error;
  if (!LiquidError.is(error)) return new TemplateFault(sentenceOf(error), 1, 1);
  const [line, column] = error.token.getPosition();
  return new TemplateFault(sentenceOf(error), line ?? 1, column ?? 1);
}

/** liquidjs says where in its message, too; the part of a long text that it quotes is cut. */
function sentenceOf(error: unknown): string {
  const said = error instanceof Error ? error.message : String(error);
  if (said.startsWith("memory alloc limit exceeded")) return "This takes too much to render";
  if (said.startsWith("parse length limit exceeded")) return `A template has ${templateLengthMax} characters at most`;
  return said.replace(/(?:, file:[^,]*)?, line:\d+, col:\d+$/, "").slice(0, 200);
}
