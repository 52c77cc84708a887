import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { CarillonError } from "../errors.ts";
import type { Database } from "../store/database.ts";
import { ask, type ReadOptions } from "../store/inspection.ts";
import { type Output, tableOf } from "./table.ts";

/** One question of docs/inspection.md. */
export interface Question {
  readonly name: string;
  readonly title: string;
  /** as it stands on the page, with psql's variables (:'user_id') */
  readonly sql: string;
  /** names of its arguments, in order */
  readonly parameters: readonly string[];
}

export interface AnswerFormat {
  readonly json: boolean;
}

/** Both src/cli/ and dist/cli/ lie two below the root of the package. */
const page = fileURLToPath(new URL("../../docs/inspection.md", import.meta.url));

/** Reads the questions from the page that people read, so that there is one source for both. */
export async function readQuestions(path: string = page): Promise<readonly Question[]> {
  return parseQuestions(await readFile(path, "utf8"));
}

const section = /^## ([a-z][a-z-]*): (.+)$/;
const variable = /:'([a-z_]+)'/g;

/**
 * A question is a heading `## name: Title`, followed by one block of sql before the next heading.
 *
 * @throws Error where a question has no sql block, or a name comes twice: the page is ours
 */
export function parseQuestions(markdown: string): readonly Question[] {
  const questions: Question[] = [];
  for (const part of markdown.split(/^(?=## )/m)) {
    const [, name, title] = section.exec(part.slice(0, part.indexOf("\n"))) ?? [];
    if (name === undefined || title === undefined) continue;
    const sql = /^```sql\n([\s\S]*?)\n```$/m.exec(part)?.[1];
    if (sql === undefined) throw new Error(`the question ${name} has no sql`);
    if (questions.some((question) => question.name === name)) throw new Error(`the question ${name} comes twice`);
    const parameters = [...new Set([...sql.matchAll(variable)].map(([, parameter = ""]) => parameter))];
    questions.push({ name, title, sql, parameters });
  }
  return questions;
}

/** Writes which questions there are. */
export function listQuestions(questions: readonly Question[], out: Output, { json }: AnswerFormat): void {
  if (json) {
    out.write(`${JSON.stringify(questions.map(({ name, title, parameters }) => ({ name, title, parameters })))}\n`);
    return;
  }
  out.write(
    tableOf(
      ["ask", "to learn"],
      questions.map((question) => [usageOf(question), question.title]),
    ),
  );
}

function usageOf({ name, parameters }: Question): string {
  return [name, ...parameters.map((parameter) => parameter.toUpperCase())].join(" ");
}

/**
 * Asks one question, in a read-only transaction with a time limit, and writes the answer: a table, or one line with an
 * array of objects.
 *
 * @throws CarillonError `invalid_request` where there is no such question or the arguments don't fit; else what the
 *   statement throws
 */
export async function askQuestion(
  db: Pick<Database, "pool">,
  questions: readonly Question[],
  request: { readonly name: string; readonly values: readonly string[] },
  out: Output,
  format: AnswerFormat & ReadOptions,
): Promise<void> {
  const question = questions.find(({ name }) => name === request.name);
  if (question === undefined) {
    const known = questions.map(({ name }) => name).join(", ");
    throw new CarillonError("invalid_request", `There is no question "${request.name}"; there are ${known}.`);
  }
  if (request.values.length !== question.parameters.length) {
    throw new CarillonError("invalid_request", `Ask like this: carillon sql ${usageOf(question)}`);
  }
  const { columns, rows } = await ask(db, withPlaceholders(question), checked(question, request.values), format);
  if (format.json) {
    out.write(`${JSON.stringify(rows.map((row) => Object.fromEntries(columns.map((name, at) => [name, row[at]]))))}\n`);
  } else {
    out.write(rows.length === 0 ? "(no rows)\n" : tableOf(columns, rows));
  }
}

/** psql puts a variable's value into the text; here it travels apart from it. */
function withPlaceholders({ sql, parameters }: Question): string {
  return sql.replace(variable, (_, parameter: string) => `$${parameters.indexOf(parameter) + 1}`);
}

function checked({ parameters }: Question, values: readonly string[]): readonly string[] {
  for (const [at, value] of values.entries()) {
    const parameter = parameters[at] ?? "";
    if (parameter === "bucket_id" && !/^\d{1,18}$/.test(value)) {
      throw new CarillonError("invalid_request", `BUCKET_ID must be a number, such as carillon sql late shows.`);
    }
  }
  return values;
}
