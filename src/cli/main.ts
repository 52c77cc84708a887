import { explain } from "./explain.ts";
import { createProgram } from "./program.ts";

try {
  await createProgram().parseAsync();
} catch (error) {
  const { text, exitCode } = explain(error);
  if (text !== "") process.stderr.write(`carillon: ${text}\n`);
  process.exitCode = exitCode;
}
