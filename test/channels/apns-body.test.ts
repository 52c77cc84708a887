import { describe, expect, it } from "vitest";
import { apnsPayload } from "../../src/channels/apns-body.ts";
import type { Message } from "../../src/channels/channel.ts";

const plain: Message = { title: "On air", body: "It begins", data: null, image: null, sound: null, link: null };
const read = (message: Message) => JSON.parse(apnsPayload(message).toString());

describe("apnsPayload", () => {
  it("holds no more than what the message has", () => {
    expect(read(plain)).toEqual({ aps: { alert: { title: "On air", body: "It begins" } } });
    expect(read({ ...plain, title: "", data: undefined })).toEqual({ aps: { alert: { body: "It begins" } } });
  });

  it("puts what the app is to read beside aps, and wakes the extension that fetches an image", () => {
    const message = {
      ...plain,
      data: { aps: "mine", stream: 7 },
      image: "https://example.com/a.png",
      sound: "bell.caf",
      link: "app://live/7",
    };
    expect(read(message)).toEqual({
      aps: { alert: { title: "On air", body: "It begins" }, sound: "bell.caf", "mutable-content": 1 },
      data: { aps: "mine", stream: 7 },
      link: "app://live/7",
      image: "https://example.com/a.png",
    });
  });

  it("is serialised once for all that share a message", () => {
    expect(apnsPayload(plain)).toBe(apnsPayload(plain));
    expect(apnsPayload({ ...plain })).not.toBe(apnsPayload(plain));
  });
});
