import type { EgressPolicy } from "../channels/egress-guard.ts";
import type { Logger } from "../logger.ts";
import type { Database } from "../store/database.ts";

/** What the API works with. */
export interface ApiDeps {
  readonly db: Database;
  readonly logger: Logger;
  /** 32 bytes that seal destinations' secrets; null: destinations can't be made */
  readonly secretKey: Uint8Array | null;
  /** which URLs destinations may have */
  readonly egressPolicy: EgressPolicy;
  /** as the planner has it */
  readonly planHorizonMs: number;
  /** development: no key is asked for, and only this machine may call */
  readonly openOnLoopback: boolean;
  /** aborted when the process begins to stop: `/readyz` then says so */
  readonly stopping?: AbortSignal;
}
