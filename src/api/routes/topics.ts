import { pauseTopic, resumeTopic } from "../../store/halt.ts";
import { createTopic, listTopics, patchTopic, readTopic } from "../../store/topics.ts";
import { assertZone } from "../../timetable/civil-time.ts";
import { parseInstant } from "../../timetable/rule-check.ts";
import { namePath, page, parser } from "../contract/contract.ts";
import { messagePreview } from "../contract/message.ts";
import { newTopic, topicPatch } from "../contract/topic.ts";
import type { ApiDeps } from "../deps.ts";
import { previewMessage } from "../message-preview.ts";
import { type Route, route } from "../route.ts";
import { pageOf } from "./page.ts";

export function topicRoutes({ db }: ApiDeps): Route[] {
  const params = parser(namePath, ":");
  return [
    route({
      method: "post",
      path: "/topics",
      scope: "admin",
      body: parser(newTopic),
      run: async ({ body: { name, ...settings } }) => ({ status: 201, body: await createTopic(db, name, settings) }),
    }),
    route({
      method: "get",
      path: "/topics",
      scope: "subscribe",
      query: parser(page, "?"),
      run: async ({ query: { limit, cursor = null } }) => {
        const topics = await listTopics(db, { after: cursor, limit: limit + 1 });
        return { status: 200, body: pageOf("topics", topics, limit, (topic) => topic.name) };
      },
    }),
    route({
      method: "get",
      path: "/topics/:name",
      scope: "subscribe",
      params,
      run: async ({ params: { name } }) => ({ status: 200, body: await readTopic(db, name) }),
    }),
    route({
      method: "patch",
      path: "/topics/:name",
      scope: "admin",
      params,
      body: parser(topicPatch),
      run: async ({ params: { name }, body }) => ({ status: 200, body: await patchTopic(db, name, body) }),
    }),
    route({
      method: "post",
      path: "/topics/:name/preview-message",
      // it shows a user's zone and language
      scope: "admin",
      params,
      body: parser(messagePreview),
      run: async ({ params: { name }, body: { userId, zone = null, locale = null, at } }) => {
        const atMs = at === undefined ? null : Date.parse(parseInstant(at, "/at"));
        if (zone !== null) assertZone(zone, "/zone");
        const whose = userId === undefined ? { zone, locale } : { userId };
        return { status: 200, body: await previewMessage(db, name, whose, atMs) };
      },
    }),
    route({
      method: "post",
      path: "/topics/:name/pause",
      scope: "admin",
      params,
      run: async ({ params: { name } }) => {
        await pauseTopic(db, (await readTopic(db, name)).topicId);
        return { status: 200, body: await readTopic(db, name) };
      },
    }),
    route({
      method: "post",
      path: "/topics/:name/resume",
      scope: "admin",
      params,
      run: async ({ params: { name } }) => {
        await resumeTopic(db, (await readTopic(db, name)).topicId);
        return { status: 200, body: await readTopic(db, name) };
      },
    }),
  ];
}
