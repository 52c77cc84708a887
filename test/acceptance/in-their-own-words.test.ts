import { describe, expect, it } from "vitest";
import { createWebhookChannel } from "../../src/channels/webhook.ts";
import { startWebhookReceiver } from "../../src/fakes/webhook-receiver.ts";
import { createDestination } from "../../src/store/destinations.ts";
import { subscribe } from "../../src/store/subscribe.ts";
import { storyLimit } from "../support/nodes.ts";
import { beginStory, storyKey, storyPace } from "../support/stories.ts";

const zones = ["Europe/Berlin", "America/New_York"] as const;
const locales = ["de-AT", "en-US", "ja"] as const;

describe("users of three languages in two zones", storyLimit, () => {
  it.each([1, 50])("each read their own words, %i reminders a request", async (batchSize) => {
    await using story = await beginStory();
    const told = new Map<string, string>();
    const requests: number[] = [];
    await using receiver = await startWebhookReceiver({
      onReceived: (_, request) => {
        requests.push(request.reminders.length);
        for (const { user, title = request.title, body = request.body } of request.reminders) {
          told.set(user, `${title} / ${body}`);
        }
      },
    });
    await createDestination(story.db, { name: "push", url: receiver.url, batchSize }, storyKey);
    await story.topic("launch", {
      title: "We are live",
      body: "Hello {{ user.id }}, it is {{ due | date: 'HH:mm' }} in {{ user.zone }}.",
      variants: {
        de: { title: "Wir sind live", body: "Hallo {{ user.id }}, es ist {{ due | date: 'HH:mm' }} Uhr." },
        ja: { title: "配信中" },
      },
    });
    const at = await story.instantIn(2000);
    const users = zones.flatMap((zone) =>
      locales.flatMap((locale) => [1, 2, 3].map((n) => ({ userId: `${zone}-${locale}-${n}`, zone, locale }))),
    );
    const [saved] = await subscribe(
      story.db,
      users.map((user) => ({
        ...user,
        topic: "launch",
        when: { at },
        endpoints: [{ channel: "webhook", destination: "push" }],
        pointer: "",
      })),
      { planHorizonMs: storyPace.horizonMs },
    );
    const policy = { allowLoopback: true };
    await story.startNode({ channels: [createWebhookChannel({ policy, connectionsPerHost: 4 })] });
    await story.whenClosed(await story.bucketOf(saved?.scheduleId ?? ""));

    const hour = (zone: string) =>
      new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit" }).format(new Date(at));
    const expected = users.map(({ userId, zone, locale }) => {
      const english = `Hello ${userId}, it is ${hour(zone)} in ${zone}.`;
      const words = {
        "de-AT": `Wir sind live / Hallo ${userId}, es ist ${hour(zone)} Uhr.`,
        "en-US": `We are live / ${english}`,
        ja: `配信中 / ${english}`,
      }[locale];
      return [userId, words] as const;
    });
    expect(Object.fromEntries(told)).toEqual(Object.fromEntries(expected));
    if (batchSize > 1) expect(Math.max(...requests)).toBeGreaterThan(1);
    await story.check({ receiverLog: null });
  });
});
