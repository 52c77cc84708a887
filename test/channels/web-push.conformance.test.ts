import type { Channel } from "../../src/channels/channel.ts";
import { newVapidPair } from "../../src/channels/credentials.ts";
import { createWebPushChannel } from "../../src/channels/web-push.ts";
import { createAuthority } from "../../src/fakes/certificate.ts";
import { type Answer, type ChannelUnderTest, describeChannel } from "./conformance.ts";
import { type PushAnswer, PushServer } from "./push-server.ts";

const answered: Record<Answer, PushAnswer> = {
  accept: { status: 201 },
  reject: { status: 413 },
  gone: { status: 410 },
  retry_in_7_s: { status: 429, headers: { "retry-after": "7" } },
  refuse_credential: { status: 403, body: '{"reason":"BadJwtToken"}' },
  fail: { status: 503 },
  withhold: "withhold",
  reset: "reset",
};

/** The suite calls users by name; their addresses are subscriptions. */
function byName(channel: Channel, server: PushServer): Channel {
  return {
    ...channel,
    send: (request) =>
      channel.send({
        ...request,
        deliveries: request.deliveries.map((delivery) => ({
          ...delivery,
          address: server.subscription(delivery.address),
        })),
      }),
  };
}

const authority = createAuthority();
const credentials = authority.issue(["127.0.0.1"]);

async function webPushUnderTest(speaks: "https" | "h2"): Promise<ChannelUnderTest> {
  const answers = new Map<string, Answer>();
  const answer = (user: string) => answered[answers.get(user) ?? "accept"];
  const server = await PushServer.start({ speaks, credentials, answer });
  const options = { policy: { allowLoopback: true }, connectionsPerHost: 8, ca: authority.ca };
  const channel = createWebPushChannel(options);
  return {
    channel: byName(channel, server),
    destination: {
      destinationId: 1,
      name: "browsers",
      channel: "web-push",
      url: "",
      subject: "mailto:ops@example.com",
      ...newVapidPair(),
    },
    answer: (address, answer) => void answers.set(address, answer),
    arrived: () => server.log.length,
    whenArrived: (count) => server.whenReceived(count),
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await channel.close();
    },
  };
}

describeChannel("web-push over HTTP/2", () => webPushUnderTest("h2"));
describeChannel("web-push over HTTP/1.1", () => webPushUnderTest("https"));
