import { createApnsChannel } from "../../src/channels/apns.ts";
import { type ApnsOptions, startApns } from "../../src/fakes/apns.ts";
import { type Answer, type ChannelUnderTest, describeChannel } from "./conformance.ts";

const faults: Record<Answer, ReturnType<NonNullable<ApnsOptions["faults"]>>> = {
  accept: "accept",
  reject: { answer: "BadPriority" },
  gone: { answer: "Unregistered" },
  retry_in_7_s: { answer: "TooManyRequests", retryAfter: "7" },
  refuse_credential: { answer: "InvalidProviderToken" },
  fail: { answer: "ServiceUnavailable" },
  withhold: "withhold",
  reset: "reset_after_accept",
};

async function apnsUnderTest(): Promise<ChannelUnderTest> {
  const programmed = new Map<string, Answer>();
  const apple = await startApns({ faults: ({ address }) => faults[programmed.get(address) ?? "accept"] });
  const channel = createApnsChannel({ policy: { allowLoopback: true }, ca: apple.ca });
  return {
    channel,
    destination: { channel: "apns", destinationId: 1, name: "app", url: apple.url, ...apple.key },
    answer: (address, answer) => void programmed.set(address, answer),
    arrived: () => apple.received,
    whenArrived: (count) => apple.whenReceived(count),
    async [Symbol.asyncDispose]() {
      await apple.stop();
      await channel.close();
    },
  };
}

describeChannel("apns", apnsUnderTest);
