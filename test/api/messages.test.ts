import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestApi, type TestApi } from "./api.ts";

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api[Symbol.asyncDispose]());

const refused = async (body: object, pointer: string, code = "bad_template") => {
  const before = await api.admin.get("/v1/topics/live").expect(200);
  for (const answer of [
    await api.admin.post("/v1/topics", { name: "refused", ...body }),
    await api.admin.patch("/v1/topics/live", body),
  ]) {
    expect(answer.status).toBe(code === "bad_template" ? 422 : 400);
    expect(answer.body.code).toBe(code);
    expect(answer.body.errors.map((error: { pointer: string }) => error.pointer)).toContain(pointer);
  }
  expect((await api.admin.get("/v1/topics/live").expect(200)).body).toEqual(before.body);
  await api.admin.get("/v1/topics/refused").expect(404);
};

describe("a topic's message", () => {
  const message = {
    title: "We are live at {{ due | time }}",
    body: "{{ user.id }}",
    data: { day: "{{ due | date: 'yyyy-MM-dd' }}" },
    image: "https://example.com/a.png",
    sound: "bell.caf",
    link: "https://example.com/{{ user.id | url_encode }}",
    locale: "en-GB",
    variants: { de: { title: "Live um {{ due | time }} Uhr" }, "pt-BR": { body: "", image: null } },
    priority: "normal",
  };

  it("is kept as it was written, and changed field by field", async () => {
    const { body: made } = await api.admin.post("/v1/topics", { name: "kept", ...message }).expect(201);
    expect(made).toMatchObject(message);
    const { body: changed } = await api.admin
      .patch("/v1/topics/kept", { variants: { fr: { title: "En direct" } }, image: null })
      .expect(200);
    expect(changed).toMatchObject({ ...message, variants: { fr: { title: "En direct" } }, image: null, version: 2 });
    const { body: cleared } = await api.admin.patch("/v1/topics/kept", { variants: null, link: null }).expect(200);
    expect(cleared).toMatchObject({ variants: null, link: null, sound: "bell.caf", version: 3 });
  });

  it("is empty, English and urgent where nothing is said", async () => {
    const { body } = await api.admin.post("/v1/topics", { name: "plain" }).expect(201);
    const nothing = { image: null, sound: null, link: null, variants: null };
    expect(body).toMatchObject({ title: "", body: "", data: null, ...nothing, locale: "en", priority: "high" });
  });

  it("that can't be rendered is refused, with where in it", async () => {
    const { body } = await api.admin.patch("/v1/topics/live", { body: "Hello\n{{ user.name }}" }).expect(422);
    expect(body).toMatchObject({
      code: "bad_template",
      errors: [
        {
          pointer: "/body",
          code: "bad_template",
          line: 2,
          column: 4,
          detail: expect.stringContaining("Line 2, column 4: There is no variable user.name"),
        },
      ],
    });
  });

  it.each([
    ["/title", { title: "{{ due | shout }}" }],
    ["/title", { title: "{% for i in (1..100000) %}{% for j in (1..100000) %}x{% endfor %}{% endfor %}" }],
    ["/body", { body: "{% include 'x' %}" }],
    ["/link", { link: "https://example.com/{{ price }}" }],
    ["/image", { image: "{{" }],
    ["/data/deep/1", { data: { deep: ["{{ due }}", "{{ now }}"] } }],
    ["/variants/de/title", { title: "{{ due | time }}", variants: { de: { title: "{{ zeit }}" } } }],
    ["/variants/pt-BR/data/a~1b", { variants: { "pt-BR": { data: { "a/b": "{% x %}" } } } }],
  ])("that can't be rendered at %s is refused: %j", async (pointer, body) => {
    await refused(body, pointer);
  });

  it.each([
    ["/variants/pt-br", { variants: { "pt-br": { title: "x" } } }],
    ["/variants/not a tag", { variants: { "not a tag": { title: "x" } } }],
    ["/variants/de/titel", { variants: { de: { titel: "x" } } }],
    ["/variants/de/link", { variants: { de: { link: "a\nb" } } }],
    ["/variants/de/title", { variants: { de: { title: null } } }],
    ["/variants/de", { variants: { de: "text" } }],
    ["/variants", { variants: [] }],
    ["/variants", { variants: Object.fromEntries(Array.from({ length: 101 }, (_, n) => [`de-x-v${n}`, {}])) }],
    ["/variants", { variants: { de: { data: ["x".repeat(100_000)] } } }],
    ["/locale", { locale: "EN" }],
    ["/locale", { locale: null }],
    ["/priority", { priority: "urgent" }],
    ["/sound", { sound: "x".repeat(101) }],
    ["/link", { link: "" }],
  ])("that isn't well formed at %s is refused", async (pointer, body) => {
    await refused(body, pointer, "invalid_request");
  });

  it("rises in version whoever changes its words, by SQL too", async () => {
    const { body: before } = await api.admin.post("/v1/topics", { name: "by-sql", title: "a" }).expect(201);
    const { pool } = api.test.database;
    await pool.query('update carillon.topics set variants = \'{"de": {"title": "b"}}\' where name = \'by-sql\'');
    await pool.query("update carillon.topics set title = title, group_count = 3 where name = 'by-sql'");
    const { body: after } = await api.admin.get("/v1/topics/by-sql").expect(200);
    expect(after.version).toBe(before.version + 1);
  });
});

describe("a message's preview", () => {
  const at = "2026-11-24T18:00:00Z";

  beforeAll(async () => {
    await api.admin
      .post("/v1/topics", {
        name: "shown",
        title: "{{ user.id }}: {{ due | time }}",
        data: { at: "{{ due | date }}" },
        link: "https://example.com/",
        variants: { de: { title: "{{ user.id }}: {{ due | time }} Uhr" } },
      })
      .expect(201);
    await api.admin.put("/v1/users/ada", { zone: "Europe/Berlin", locale: "de-AT" });
  });

  it("is what a user would get, in each channel's own form", async () => {
    const { body } = await api.admin.post("/v1/topics/shown/preview-message", { userId: "ada", at }).expect(200);
    const words = { title: "ada: 19:00 Uhr", body: "", data: { at: "24. Nov. 2026" }, link: "https://example.com/" };
    expect(body).toMatchObject({
      dueAt: "2026-11-24T18:00:00.000Z",
      userId: "ada",
      zone: "Europe/Berlin",
      locale: "de-AT",
    });
    expect(body.message).toEqual({ ...words, image: null, sound: null });
    expect(body.payloads.webhook).toMatchObject({
      type: "reminder",
      data: {
        user: "ada",
        topic: "shown",
        ...words,
        dueAt: "2026-11-24T18:00:00.000Z",
        expiresAt: "2026-11-24T18:10:00.000Z",
      },
    });
    expect(body.payloads.webhook.data).not.toHaveProperty("image");
  });

  it("is that of somebody with a zone and a locale, or of nobody in particular", async () => {
    const shown = async (whose: object) =>
      (await api.admin.post("/v1/topics/shown/preview-message", { ...whose, at }).expect(200)).body.message.title;
    expect(await shown({ zone: "Asia/Tokyo", locale: "de" })).toBe("some-user: 03:00 Uhr");
    expect(await shown({})).toMatch(/^some-user: 6:00\sPM$/);
    const now = await api.admin.post("/v1/topics/shown/preview-message", {}).expect(200);
    expect(now.body.message.title).toMatch(/^some-user: \d{1,2}:\d\d\s[AP]M$/);
  });

  it.each([
    [404, "not_found", "/v1/topics/none/preview-message", {}],
    [404, "unknown_user", "/v1/topics/shown/preview-message", { userId: "nobody" }],
    [422, "unknown_zone", "/v1/topics/shown/preview-message", { zone: "Mars/Olympus" }],
    [400, "invalid_request", "/v1/topics/shown/preview-message", { locale: "not a tag" }],
    [400, "invalid_request", "/v1/topics/shown/preview-message", { userId: "ada", zone: "UTC" }],
    [422, "malformed_time", "/v1/topics/shown/preview-message", { at: "noon" }],
    [400, "invalid_request", "/v1/topics/shown/preview-message", { user: "ada" }],
  ])("is refused with %i %s: %s %j", async (status, code, path, body) => {
    expect((await api.admin.post(path, body).expect(status)).body.code).toBe(code);
  });

  it("tells of a message that was stored by SQL and can't be rendered", async () => {
    const { pool } = api.test.database;
    await pool.query("insert into carillon.topics (name, title) values ('broken', '{{ nothing }}')");
    const { body } = await api.admin.post("/v1/topics/broken/preview-message", {}).expect(422);
    expect(body).toMatchObject({
      code: "bad_template",
      detail: expect.stringContaining("There is no variable nothing"),
    });
  });

  it("is for admins: it shows a user's zone and language", async () => {
    await api.subscriber.post("/v1/topics/shown/preview-message", { userId: "ada" }).expect(403);
  });
});
