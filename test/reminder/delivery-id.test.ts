import { fc, test } from "@fast-check/vitest";
import { describe, expect, it } from "vitest";
import {
  apnsCollapseId,
  apnsId,
  batchWebhookId,
  deliveryId,
  deliveryIds,
  webhookId,
  webPushTopic,
} from "../../src/reminder/delivery-id.ts";

describe("deliveryId", () => {
  it("is the same on every node and in every release: receivers dedupe by it", () => {
    expect(deliveryId("12", "2026-11-24T18:00:00Z", "9007199254740993", 0)).toBe(
      "d_a3TQ41OZ_QlW2-u9PbqxQg_9007199254740993_0",
    );
  });

  it("has the documented form", () => {
    expect(deliveryId("12", "mecca/fajr/2026-11-24+0", "7", 3)).toMatch(/^d_[A-Za-z0-9_-]{22}_7_3$/);
  });

  it("is made once a moment for all its users", () => {
    const idOf = deliveryIds("12", "x");
    expect(idOf("7", 0)).toBe(deliveryId("12", "x", "7", 0));
    expect(idOf("8", 1)).toBe(deliveryId("12", "x", "8", 1));
  });

  const delivery = fc.tuple(fc.string(), fc.string(), fc.bigInt({ min: 1n, max: 2n ** 63n - 1n }), fc.nat(20));
  test.prop([delivery, delivery])("differs where the delivery does, however its parts are cut", (one, other) => {
    const [first, second] = [one, other].map(([schedule, occurrence, user, ordinal]) =>
      deliveryId(schedule, occurrence, String(user), ordinal),
    );
    const same = one.every((part, at) => part === other[at]);
    expect(first === second).toBe(same);
  });

  it("does not run schedule and occurrence together", () => {
    expect(deliveryId("1", "23", "7", 0)).not.toBe(deliveryId("12", "3", "7", 0));
  });
});

describe("webPushTopic", () => {
  it("is what RFC 8030 allows, and the same in every release: push services replace by it", () => {
    expect(webPushTopic("d_x_7_0")).toBe("mKJTPijvZIwmNHmoC3IBO7IiERZpvc-U");
    expect(webPushTopic("d_x_7_1")).not.toBe(webPushTopic("d_x_7_0"));
  });
});

describe("webhook ids", () => {
  it("of one reminder follow from its delivery id", () => expect(webhookId("d_x_7_0")).toBe("msg_d_x_7_0"));

  it("of a batch tell its members and their order", () => {
    const ids = [["a", "b"], ["b", "a"], ["a"], ["ab"], ["a", "b", "c"]].map(batchWebhookId);
    expect(new Set(ids).size).toBe(5);
    expect(batchWebhookId(["a", "b"])).toBe(ids[0]);
    expect(ids[0]).toMatch(/^msg_b_[A-Za-z0-9_-]{22}$/);
  });
});

describe("ids at Apple", () => {
  const id = "d_a3TQ41OZ_QlW2-u9PbqxQg_9007199254740993_0";

  it("are the same on every node and in every release: a repeat must replace the first", () => {
    expect(apnsId(id)).toBe("dcd8e7fa-893d-50d6-a0c1-65b60379e593");
    expect(apnsCollapseId(id)).toBe("6c4de57f7262136b2105094828ddf56fced448f62e6eea3765d2098961a10fc1");
  });

  test.prop([fc.string()])("have the forms that Apple takes", (deliveryId) => {
    // version 5 and the variant of RFC 9562
    expect(apnsId(deliveryId)).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(Buffer.byteLength(apnsCollapseId(deliveryId))).toBe(64);
  });
});
