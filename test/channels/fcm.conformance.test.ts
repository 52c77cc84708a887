import { createFcmChannel } from "../../src/channels/fcm.ts";
import { createServiceAccount, type FcmOptions, startFcm } from "../../src/fakes/fcm.ts";
import { type Answer, type ChannelUnderTest, describeChannel } from "./conformance.ts";

const serviceAccount = createServiceAccount();
const faults: Record<Answer, ReturnType<NonNullable<FcmOptions["faults"]>>> = {
  accept: "accept",
  reject: { answer: "INVALID_ARGUMENT" },
  gone: { answer: "UNREGISTERED" },
  retry_in_7_s: { answer: "QUOTA_EXCEEDED", retryAfter: "7" },
  refuse_credential: { answer: "PERMISSION_DENIED" },
  fail: { answer: "UNAVAILABLE" },
  withhold: "withhold",
  reset: "reset_after_accept",
};

async function fcmUnderTest(): Promise<ChannelUnderTest> {
  const programmed = new Map<string, Answer>();
  const google = await startFcm({
    serviceAccount,
    faults: ({ address }) => faults[programmed.get(address) ?? "accept"],
  });
  const channel = createFcmChannel({ policy: { allowLoopback: true }, ca: google.ca });
  const { url, tokenUrl } = google;
  return {
    channel,
    destination: { channel: "fcm", destinationId: 1, name: "app", url, tokenUrl, ...serviceAccount },
    answer: (address, answer) => void programmed.set(address, answer),
    arrived: () => google.received,
    whenArrived: (count) => google.whenReceived(count),
    async [Symbol.asyncDispose]() {
      await google.stop();
      await channel.close();
    },
  };
}

describeChannel("fcm", fcmUnderTest);
