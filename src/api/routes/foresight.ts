import { zoneDataVersion } from "../../config.ts";
import { explainUser } from "../../planner/explain.ts";
import { previewSchedule, previewUnstored } from "../../planner/preview.ts";
import { parseInstant } from "../../timetable/rule-check.ts";
import { parser } from "../contract/contract.ts";
import { explainQuery, previewQuery } from "../contract/foresight.ts";
import { schedulePath } from "../contract/schedule.ts";
import { ruleToPreview } from "../contract/subscription.ts";
import { userPath } from "../contract/user.ts";
import type { ApiDeps } from "../deps.ts";
import { type Route, route } from "../route.ts";
import { whenOf } from "./subscriptions.ts";

/** What will happen, told before it does: docs/time.md, "Preview and explain". */
export function foresightRoutes({ db }: ApiDeps): Route[] {
  return [
    route({
      method: "get",
      path: "/schedules/:scheduleId/preview",
      scope: "admin",
      params: parser(schedulePath, ":"),
      query: parser(previewQuery, "?"),
      run: async ({ params: { scheduleId }, query: { count, from } }) => ({
        status: 200,
        body: await previewSchedule(db, scheduleId, {
          count,
          fromMs: instantMs(from, "?from"),
          tzdata: zoneDataVersion,
        }),
      }),
    }),
    route({
      method: "post",
      path: "/schedules/preview",
      scope: "admin",
      query: parser(previewQuery, "?"),
      body: parser(ruleToPreview),
      run: async ({ query: { count, from }, body }) => {
        const options = { count, fromMs: instantMs(from, "?from"), tzdata: zoneDataVersion };
        return { status: 200, body: await previewUnstored(db, whenOf(body), body.zone, options) };
      },
    }),
    route({
      method: "get",
      path: "/users/:userId/explain",
      scope: "admin",
      params: parser(userPath, ":"),
      query: parser(explainQuery, "?"),
      run: async ({ params: { userId }, query: { at } }) => ({
        status: 200,
        body: await explainUser(db, userId, { atMs: instantMs(at, "?at"), tzdata: zoneDataVersion }),
      }),
    }),
  ];
}

function instantMs(text: string | undefined, pointer: string): number | null {
  return text === undefined ? null : Date.parse(parseInstant(text, pointer));
}
