import { z } from "zod";
import { bigintText } from "./contract.ts";

export const schedulePath = z.strictObject({ scheduleId: bigintText });
