import { afterAll, beforeAll, expect, it } from "vitest";
import { startTestApi, type TestApi } from "./api.ts";

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
  for (const name of ["ops", "other"]) {
    await api.admin.post("/v1/destinations", { name, url: "https://ops.example/" }).expect(201);
  }
  const push = { name: "web", channel: "web-push", subject: "mailto:a@example.com" };
  await api.admin.post("/v1/destinations", push).expect(201);
});
afterAll(() => api[Symbol.asyncDispose]());

const path = "/v1/event-listeners/ops";

it("a destination is told of what it wants to hear of, until it is told nothing", async () => {
  await api.admin.get(path).expect(404);
  const told = { destination: "ops", waiting: 0, waitingSince: null, fault: null };
  const set = await api.admin.put(path, { kinds: ["endpoint.gone", "endpoint.gone"] }).expect(200);
  expect(set.body).toEqual({ ...told, kinds: ["endpoint.gone"] });
  const kinds = ["bucket.closed", "channel.stopped"];
  expect((await api.admin.put(path, { kinds }).expect(200)).body).toEqual({ ...told, kinds });
  expect((await api.admin.get(path).expect(200)).body).toEqual({ ...told, kinds });
  for (let time = 0; time < 2; time += 1) {
    expect((await api.admin.delete(path).expect(200)).body).toEqual({ destination: "ops", kinds: [] });
  }
  await api.admin.get(path).expect(404);
});

it.each([
  ["no kinds", "other", { kinds: [] }, 400, "invalid_request", "/kinds"],
  ["an unknown kind", "other", { kinds: ["bucket.opened"] }, 400, "invalid_request", "/kinds/0"],
  ["something else", "other", { kinds: ["bucket.closed"], url: "https://a.example/" }, 400, "invalid_request", "/url"],
  ["no such destination", "none", { kinds: ["bucket.closed"] }, 404, "not_found", undefined],
  ["a destination of browsers", "web", { kinds: ["bucket.closed"] }, 422, "destination_mismatch", undefined],
])("is refused: %s", async (_, name, body, status, code, pointer) => {
  const reply = await api.admin.put(`/v1/event-listeners/${name}`, body).expect(status);
  expect(reply.body.code).toBe(code);
  expect(reply.body.errors?.[0]?.pointer ?? reply.body.pointer).toBe(pointer);
  await api.admin.get(`/v1/event-listeners/${name}`).expect(404);
});

it("is an admin's business", async () => {
  await api.subscriber.get(path).expect(403);
  await api.subscriber.put(path, { kinds: ["bucket.closed"] }).expect(403);
  await api.subscriber.delete(path).expect(403);
  await api.admin.delete("/v1/event-listeners/none").expect(404);
});
