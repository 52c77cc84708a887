import { describe, expect, it } from "vitest";
import type {
  Channel,
  Delivery,
  Destination,
  Message,
  Moment,
  Outcome,
  SendRequest,
} from "../../src/channels/channel.ts";

/** What the far side is to do with a user's reminder. */
export type Answer =
  | "accept"
  | "reject"
  | "gone"
  | "retry_in_7_s"
  | "refuse_credential"
  | "fail"
  /** takes the request and stays silent */
  | "withhold"
  /** takes the request and drops the connection */
  | "reset";

export interface ChannelUnderTest extends AsyncDisposable {
  readonly channel: Channel;
  readonly destination: Destination | null;
  answer(address: string, answer: Answer): void;
  /** how many reminders have arrived at the far side so far */
  arrived(): number;
  /** resolves when so many have */
  whenArrived(count: number): Promise<void>;
}

export const someMoment: Moment = {
  topic: "live",
  scheduleId: "12",
  occurrence: "2026-11-24T18:00:00Z",
  dueAt: "2026-11-24T18:00:00.000Z",
  expiresAt: "2026-11-24T18:10:00.000Z",
  bucketId: "9007199254740993",
  groupNumber: 3,
  node: "node-a",
  priority: "high",
};

export const someMessage: Message = {
  title: "On air",
  body: "It begins now",
  data: { stream: 7 },
  image: null,
  sound: null,
  link: null,
};

export function deliveriesTo(...addresses: string[]): Delivery[] {
  return addresses.map((address, index) => ({
    deliveryId: `d_x_${index}_0`,
    attempt: 0,
    address,
    destinationId: 1,
    zone: null,
    locale: null,
    message: someMessage,
  }));
}

export interface Sent {
  readonly outcomes: readonly (Outcome | undefined)[];
  /** how often each was settled */
  readonly settled: readonly number[];
  readonly settleCalls: number;
}

/** Sends and collects what was settled; a settle after the end of `send` throws. */
export async function sendAll(
  channel: Channel,
  destination: Destination | null,
  deliveries: readonly Delivery[],
  options: Partial<Pick<SendRequest, "timeoutMs" | "mayBegin" | "signal" | "moment">> = {},
): Promise<Sent> {
  const outcomes: (Outcome | undefined)[] = new Array(deliveries.length).fill(undefined);
  const settled: number[] = new Array(deliveries.length).fill(0);
  let settleCalls = 0;
  let ended = false;
  await channel.send({
    moment: someMoment,
    deliveries,
    destination,
    timeoutMs: 20_000,
    mayBegin: () => true,
    signal: new AbortController().signal,
    ...options,
    settle(indexes, given) {
      if (ended) throw new Error("settled after send had resolved");
      expect(indexes.length).toBe(given.length);
      settleCalls += 1;
      for (const [at, index] of indexes.entries()) {
        outcomes[index] = given[at];
        settled[index] = (settled[index] ?? 0) + 1;
      }
    },
  });
  ended = true;
  return { outcomes, settled, settleCalls };
}

/** What every channel must do, whatever it speaks. */
export function describeChannel(name: string, setup: () => Promise<ChannelUnderTest>): void {
  describe(`${name}: conformance`, () => {
    const expected: readonly [Answer, Partial<Outcome>][] = [
      ["accept", { kind: "accepted" }],
      ["reject", { kind: "rejected" }],
      ["gone", { kind: "gone" }],
      ["retry_in_7_s", { kind: "retry", retryAfterMs: 7_000 }],
      ["refuse_credential", { kind: "auth" }],
      ["fail", { kind: "in_doubt" }],
      ["reset", { kind: "in_doubt" }],
    ];
    for (const [answer, outcome] of expected) {
      it(`makes ${outcome.kind} of ${answer}`, async () => {
        await using under = await setup();
        under.answer("u-1", answer);
        const { outcomes, settled } = await sendAll(under.channel, under.destination, deliveriesTo("u-1"));
        expect(outcomes[0]).toMatchObject(outcome);
        expect(settled).toEqual([1]);
        expect(under.arrived()).toBe(1);
      });
    }

    it("settles each of many exactly once, each with its own outcome", async () => {
      await using under = await setup();
      const answers = ["accept", "reject", "gone", "retry_in_7_s"] as const;
      const kinds = { accept: "accepted", reject: "rejected", gone: "gone", retry_in_7_s: "retry" };
      const given = Array.from({ length: 300 }, (_, index) => answers[(index * 7) % 4] ?? "accept");
      for (const [index, answer] of given.entries()) under.answer(`u-${index}`, answer);
      const deliveries = deliveriesTo(...given.map((_, index) => `u-${index}`));
      const { outcomes, settled } = await sendAll(under.channel, under.destination, deliveries);
      expect(settled.every((times) => times === 1)).toBe(true);
      expect(outcomes.map((outcome) => outcome?.kind)).toEqual(given.map((answer) => kinds[answer]));
      expect(under.arrived()).toBe(300);
    });

    it("keeps concurrent sends apart", async () => {
      await using under = await setup();
      for (let index = 0; index < 50; index += 1) under.answer(`rejected-${index}`, "reject");
      const users = (prefix: string) => deliveriesTo(...Array.from({ length: 50 }, (_, index) => `${prefix}-${index}`));
      const [first, second] = await Promise.all([
        sendAll(under.channel, under.destination, users("accepted")),
        sendAll(under.channel, under.destination, users("rejected")),
      ]);
      expect(new Set(first.outcomes.map((outcome) => outcome?.kind))).toEqual(new Set(["accepted"]));
      expect(new Set(second.outcomes.map((outcome) => outcome?.kind))).toEqual(new Set(["rejected"]));
      expect([...first.settled, ...second.settled].every((times) => times === 1)).toBe(true);
    });

    it("begins nothing while mayBegin says no", async () => {
      await using under = await setup();
      const mayBegin = () => false;
      const sent = await sendAll(under.channel, under.destination, deliveriesTo("u-1", "u-2"), { mayBegin });
      expect(sent.outcomes).toEqual([
        { kind: "retry", reason: "held_back" },
        { kind: "retry", reason: "held_back" },
      ]);
      expect(sent.settled).toEqual([1, 1]);
      expect(under.arrived()).toBe(0);
    });

    it("calls what is not answered in time in doubt", async () => {
      await using under = await setup();
      under.answer("u-1", "withhold");
      const sending = sendAll(under.channel, under.destination, deliveriesTo("u-1"), { timeoutMs: 400 });
      await under.whenArrived(1);
      const { outcomes, settled } = await sending;
      expect(outcomes[0]?.kind).toBe("in_doubt");
      expect(settled).toEqual([1]);
      expect(under.arrived()).toBe(1);
    });

    it("calls what is under way at an abort in doubt", async () => {
      await using under = await setup();
      const abort = new AbortController();
      under.answer("u-1", "withhold");
      const sending = sendAll(under.channel, under.destination, deliveriesTo("u-1"), { signal: abort.signal });
      await under.whenArrived(1);
      abort.abort(new Error("enough"));
      const { outcomes, settled } = await sending;
      expect(outcomes[0]?.kind).toBe("in_doubt");
      expect(settled).toEqual([1]);
    });

    it("sends nothing when it is aborted before", async () => {
      await using under = await setup();
      const signal = AbortSignal.abort(new Error("too late"));
      const sent = await sendAll(under.channel, under.destination, deliveriesTo("u-1", "u-2"), { signal });
      expect(sent.outcomes.map((outcome) => outcome?.kind)).toEqual(["retry", "retry"]);
      expect(sent.settled).toEqual([1, 1]);
      expect(under.arrived()).toBe(0);
    });

    it("has nothing to do without deliveries", async () => {
      await using under = await setup();
      expect((await sendAll(under.channel, under.destination, [])).settleCalls).toBe(0);
    });

    it("warms up without fail, also when aborted and when closed", async () => {
      await using under = await setup();
      await under.channel.warm(under.destination, new AbortController().signal);
      await under.channel.warm(under.destination, AbortSignal.abort());
      expect((await sendAll(under.channel, under.destination, deliveriesTo("u-1"))).outcomes[0]?.kind).toBe("accepted");
      await under.channel.close();
      await under.channel.warm(under.destination, new AbortController().signal);
    });

    it("can be closed twice, and sends nothing afterwards", async () => {
      await using under = await setup();
      await sendAll(under.channel, under.destination, deliveriesTo("u-1"));
      await Promise.all([under.channel.close(), under.channel.close()]);
      await under.channel.close();
      const { outcomes } = await sendAll(under.channel, under.destination, deliveriesTo("u-2"));
      expect(outcomes[0]?.kind).toBe("retry");
      expect(under.arrived()).toBe(1);
    });

    it("names a batch size of at least one", async () => {
      await using under = await setup();
      expect(under.channel.batchSize(under.destination)).toBeGreaterThanOrEqual(1);
    });
  });
}
