import { CarillonError } from "../errors.ts";

/** Exit codes after sysexits.h, where there is one for it. */
export const exitCodes = { ok: 0, failed: 1, usage: 2, unavailable: 69, tryLater: 75, configuration: 78 } as const;

export function exitCodeOf(error: unknown): number {
  if (!(error instanceof CarillonError)) return exitCodes.failed;
  switch (error.code) {
    case "database_unavailable":
      return exitCodes.unavailable;
    case "schema_out_of_date":
      return exitCodes.tryLater;
    case "bad_configuration":
    case "secret_key_missing":
      return exitCodes.configuration;
    default:
      return exitCodes.failed;
  }
}
