import { pauseSchedule, resumeSchedule } from "../../store/halt.ts";
import type { FoundPlace } from "../../store/place-times.ts";
import { readSchedule, type Schedule } from "../../store/schedules.ts";
import { parser } from "../contract/contract.ts";
import { schedulePath } from "../contract/schedule.ts";
import type { ApiDeps } from "../deps.ts";
import { type Route, route } from "../route.ts";

export function scheduleRoutes({ db }: ApiDeps): Route[] {
  const params = parser(schedulePath, ":");
  return [
    route({
      method: "get",
      path: "/schedules/:scheduleId",
      scope: "admin",
      params,
      run: async ({ params: { scheduleId } }) => ({ status: 200, body: shown(await readSchedule(db, scheduleId)) }),
    }),
    route({
      method: "post",
      path: "/schedules/:scheduleId/pause",
      scope: "admin",
      params,
      run: async ({ params: { scheduleId } }) => {
        await readSchedule(db, scheduleId);
        await pauseSchedule(db, scheduleId);
        return { status: 200, body: shown(await readSchedule(db, scheduleId)) };
      },
    }),
    route({
      method: "post",
      path: "/schedules/:scheduleId/resume",
      scope: "admin",
      params,
      run: async ({ params: { scheduleId } }) => {
        await readSchedule(db, scheduleId);
        await resumeSchedule(db, scheduleId);
        return { status: 200, body: shown(await readSchedule(db, scheduleId)) };
      },
    }),
  ];
}

/** What is told of the place that gives a schedule its times; nothing for those without one. */
export function shownPlace(place: FoundPlace | null) {
  if (place === null) return {};
  const { placeId, key, name, zone } = place;
  return { place: { placeId, key, name, zone } };
}

function shown({ place, ...schedule }: Schedule) {
  return { ...schedule, ...shownPlace(place) };
}
