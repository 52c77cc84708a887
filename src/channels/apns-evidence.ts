import type { Outcome } from "./channel.ts";

/**
 * What Apple says of a token that is none, and of every token when the destination is set up for the other environment
 * or another app.
 */
const questions: Readonly<Record<string, string>> = {
  BadDeviceToken: "is it the right environment?",
  DeviceTokenNotForTopic: "is it the right bundle id?",
};

/**
 * Whether Apple has accepted anything for a destination as it is set up now, in this process. Until then an answer that
 * is about the token, or about the destination, is taken for one about the destination: it would prune every endpoint,
 * where holding them for a while costs little.
 */
export class Evidence {
  #hasAccepted: boolean;

  constructor(hasAccepted = false) {
    this.#hasAccepted = hasAccepted;
  }

  weigh(outcome: Outcome): Outcome {
    if (outcome.kind === "accepted") this.#hasAccepted = true;
    if (outcome.kind !== "gone" || this.#hasAccepted || !Object.hasOwn(questions, outcome.reason)) return outcome;
    const { reason, status } = outcome;
    const said = `${reason}, and nothing was accepted yet: ${questions[reason]}`;
    return { kind: "auth", reason: said, ...(status === undefined ? {} : { status }) };
  }
}
