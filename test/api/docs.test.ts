import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { routesOf } from "../../src/api/app.ts";
import { startTestApi, type TestApi } from "./api.ts";

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api[Symbol.asyncDispose]());

const documented = readFileSync(new URL("../../docs/http.md", import.meta.url), "utf8");
const example =
  /^curl (?:-H \S+ \S+ \S+ )?(?:-X (\w+) )?'?http:\/\/127\.0\.0\.1:8080(\/[^\s']*)'?(?: -H '[^']*' -d '([^']*)')?/gm;
/** The ids in these examples are made up. */
const madeUp = ["unknown_subscription", "unknown_bucket", "unknown_schedule"];

describe("docs/http.md", () => {
  it("has examples that work when they are run one after the other", async () => {
    const examples = [...documented.replaceAll('-H "authorization: Bearer $KEY" ', "").matchAll(example)];
    expect(examples.length).toBe([...documented.matchAll(/^curl /gm)].length);
    for (const [line, method = "GET", path = "", sent] of examples) {
      const name = method.toLowerCase() as "get" | "post" | "put" | "patch" | "delete";
      const { status, body } = await api.admin[name](path, sent);
      if (!madeUp.includes(body.code)) expect(status, `${line}\n${JSON.stringify(body)}`).toBeLessThan(300);
    }
  });

  it("names every route", () => {
    const text = documented.replaceAll(/\{\w+\}/g, "{}");
    for (const { path } of routesOf(api.deps)) {
      const [resource = ""] = path.replaceAll(/:\w+/g, "{}").split(/\/(?:pause|resume)$/);
      expect(text.includes(`/v1${resource}`), path).toBe(true);
    }
  });
});
