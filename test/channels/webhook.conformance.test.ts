import { createWebhookChannel } from "../../src/channels/webhook.ts";
import { type Fault, startWebhookReceiver } from "../../src/fakes/webhook-receiver.ts";
import type { ReceivedRequest } from "../../src/fakes/webhook-request.ts";
import { type Answer, type ChannelUnderTest, describeChannel } from "./conformance.ts";

const secret = `whsec_${Buffer.alloc(32, 9).toString("base64")}`;

const wholeRequest: Record<Exclude<Answer, "accept">, Fault> = {
  reject: { status: 422 },
  gone: { status: 410 },
  retry_in_7_s: { status: 429, headers: { "retry-after": "7" } },
  refuse_credential: { status: 401 },
  fail: { status: 503 },
  withhold: "withhold",
  reset: "reset_after_accept",
};
const perMember = {
  reject: { status: "rejected", reason: "no" },
  gone: { status: "gone", reason: "left" },
  retry_in_7_s: { status: "retry", reason: "busy", retryAfterMs: 7_000 },
};

async function webhookUnderTest(batchSize: number): Promise<ChannelUnderTest> {
  const answers = new Map<string, Answer>();
  const answerOf = (user: string) => answers.get(user) ?? "accept";

  function faults(request: ReceivedRequest): Fault {
    const results = [];
    for (const { id, user } of request.reminders) {
      const answer = answerOf(user);
      if (answer === "accept") continue;
      if (request.type === "reminders" && (answer === "reject" || answer === "gone" || answer === "retry_in_7_s")) {
        results.push({ id, ...perMember[answer] });
      } else {
        return wholeRequest[answer];
      }
    }
    return results.length === 0 ? "accept" : { body: JSON.stringify({ results }) };
  }

  const receiver = await startWebhookReceiver({ secrets: [secret], faults });
  const channel = createWebhookChannel({ policy: { allowLoopback: true }, connectionsPerHost: 8 });
  return {
    channel,
    destination: {
      channel: "webhook",
      destinationId: 1,
      name: "test",
      url: receiver.url,
      secrets: [secret],
      batchSize,
    },
    answer: (address, answer) => void answers.set(address, answer),
    arrived: () => receiver.received,
    whenArrived: (count) => receiver.whenReceived(count),
    async [Symbol.asyncDispose]() {
      await receiver.stop();
      await channel.close();
    },
  };
}

describeChannel("webhook, one request a reminder", () => webhookUnderTest(1));
describeChannel("webhook, 40 reminders a request", () => webhookUnderTest(40));
