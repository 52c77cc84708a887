import { expect, it } from "vitest";
import type { Delivery, Outcome } from "../../src/channels/channel.ts";
import { createMemoryChannel } from "../../src/channels/memory.ts";
import { type Answer, type ChannelUnderTest, deliveriesTo, describeChannel, sendAll } from "./conformance.ts";

const outcomes: Record<Exclude<Answer, "withhold">, Outcome> = {
  accept: { kind: "accepted" },
  reject: { kind: "rejected", reason: "no" },
  gone: { kind: "gone", reason: "left" },
  retry_in_7_s: { kind: "retry", reason: "busy", retryAfterMs: 7_000 },
  refuse_credential: { kind: "auth", reason: "answered 401", status: 401 },
  fail: { kind: "in_doubt", reason: "answered 503", status: 503 },
  reset: { kind: "in_doubt", reason: "no reply" },
};

async function memoryUnderTest(): Promise<ChannelUnderTest> {
  const answers = new Map<string, Answer>();
  const arrivals = new EventTarget();
  let arrived = 0;
  const channel = createMemoryChannel({
    log(deliveries) {
      arrived += deliveries.length;
      arrivals.dispatchEvent(new Event("arrival"));
    },
    outcomeOf({ address }) {
      const answer = answers.get(address) ?? "accept";
      return answer === "withhold" ? new Promise<Outcome>(() => {}) : outcomes[answer];
    },
  });
  return {
    channel,
    destination: null,
    answer: (address, answer) => void answers.set(address, answer),
    arrived: () => arrived,
    async whenArrived(count) {
      while (arrived < count) {
        await new Promise((resolve) => arrivals.addEventListener("arrival", resolve, { once: true }));
      }
    },
    [Symbol.asyncDispose]: () => channel.close(),
  };
}

describeChannel("memory", memoryUnderTest);

it("settles everything in one call unless outcomes are programmed", async () => {
  const logged: Delivery[] = [];
  const channel = createMemoryChannel({ log: (deliveries) => logged.push(...deliveries) });
  const deliveries = deliveriesTo("u-1", "u-2", "u-3");
  const sent = await sendAll(channel, null, deliveries);
  expect(sent.settleCalls).toBe(1);
  expect(sent.outcomes).toEqual([{ kind: "accepted" }, { kind: "accepted" }, { kind: "accepted" }]);
  expect(logged).toEqual(deliveries);
});

it("makes an in-doubt outcome of a programme that throws", async () => {
  const channel = createMemoryChannel({
    outcomeOf() {
      throw new Error("out of paper");
    },
  });
  const { outcomes } = await sendAll(channel, null, deliveriesTo("u-1"));
  expect(outcomes[0]).toMatchObject({ kind: "in_doubt", reason: expect.stringContaining("out of paper") });
});
