import { readFileSync } from "node:fs";
import { createContext, runInContext, Script } from "node:vm";
import { describe, expect, it } from "vitest";
import { pushPayload } from "../../src/channels/web-push-payload.ts";
import { knownPushHosts } from "../../src/channels/web-push-subscription.ts";

const page = readFileSync(new URL("../../docs/channels/web-push.md", import.meta.url), "utf8");
const blocks = (language: string) =>
  [...page.matchAll(new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)^\`\`\`$`, "gm"))].map(([, text = ""]) => text);
const [subscribePage = "", serviceWorker = ""] = blocks("js");

type Shown = { title: string; options: { body: string; tag: string; data: unknown; image?: string } };

/** The service worker of the page, in a browser that has just what it uses. */
function runServiceWorker() {
  const listeners = new Map<string, (event: unknown) => void>();
  const shown: Shown[] = [];
  const opened: string[] = [];
  const self = {
    addEventListener: (name: string, listener: (event: unknown) => void) => listeners.set(name, listener),
    registration: {
      showNotification: async (title: string, options: Shown["options"]) => shown.push({ title, options }),
    },
    clients: { openWindow: async (url: string) => opened.push(url) },
  };
  runInContext(serviceWorker, createContext({ self }));
  const waitUntil = () => {};
  return {
    shown,
    opened,
    push: (payload: Buffer) =>
      listeners.get("push")?.({ waitUntil, data: { json: () => JSON.parse(payload.toString("utf8")) } }),
    click: ({ options }: Shown) =>
      listeners.get("notificationclick")?.({ waitUntil, notification: { close() {}, data: options.data } }),
  };
}

describe("docs/channels/web-push.md", () => {
  it("has a service worker that shows what is sent, with the id as its tag", () => {
    const worker = runServiceWorker();
    const message = { title: "On air", body: "Now", data: null, image: null, sound: null, link: "https://x.example/" };
    worker.push(pushPayload(message, "d_x_1_0"));
    worker.push(pushPayload({ ...message, image: "https://x.example/a.png", link: null }, "d_x_2_0"));
    const link = "https://x.example/";
    expect(worker.shown).toEqual([
      { title: "On air", options: { body: "Now", tag: "d_x_1_0", data: { link } } },
      {
        title: "On air",
        options: { body: "Now", tag: "d_x_2_0", data: { link: null }, image: "https://x.example/a.png" },
      },
    ]);
    for (const notification of worker.shown) worker.click(notification);
    expect(worker.opened).toEqual([link]);
  });

  it("has a page that compares keys as browsers have them", () => {
    const isOf = runInContext(`${subscribePage}; isOf`, createContext({ btoa, Uint8Array, String }));
    const key = Uint8Array.from({ length: 65 }, (_, index) => (index * 37) % 256);
    const text = Buffer.from(key).toString("base64url");
    expect(isOf({ options: { applicationServerKey: key.buffer } }, text)).toBe(true);
    expect(isOf({ options: { applicationServerKey: key.buffer } }, `${text.slice(1)}A`)).toBe(false);
    expect(isOf({ options: { applicationServerKey: null } }, text)).toBe(false);
    expect(() => new Script(subscribePage)).not.toThrow();
  });

  it("shows the payload as it is sent", () => {
    const [payload = ""] = blocks("json");
    const { id, ...message } = JSON.parse(payload);
    expect(pushPayload({ ...message, sound: null }, id).toString("utf8")).toBe(JSON.stringify(JSON.parse(payload)));
    expect(Object.keys(JSON.parse(pushPayload({ ...message, sound: "bell" }, id).toString("utf8")))).toEqual([
      "title",
      "body",
      "data",
      "image",
      "sound",
      "link",
      "id",
    ]);
  });

  it("names the push services that are known", () => {
    for (const host of knownPushHosts) expect(page).toContain(`\`${host}\``);
  });
});
