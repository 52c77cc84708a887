import { type MessageTemplate, readMessage } from "../reminder/message.ts";
import type { ClaimedTopic } from "../store/claim.ts";

/** A node sends for so many topics at a time without reading their messages anew for each group. */
const topicsKeptMax = 1_000;

/** The messages of the topics that were sent for lately, each read once a version and shared by all their groups. */
export class MessageBook {
  readonly #pages = new Map<number, { readonly version: number; readonly template: MessageTemplate }>();

  find(topic: ClaimedTopic): MessageTemplate {
    const page = this.#pages.get(topic.topicId);
    if (page?.version === topic.version) return page.template;
    const template = readMessage(topic);
    if (this.#pages.size >= topicsKeptMax) this.#pages.clear();
    this.#pages.set(topic.topicId, { version: topic.version, template });
    return template;
  }
}
