import type { MessageTemplate, MessageWriter, Written } from "../reminder/message.ts";
import type { Member } from "../store/chunk.ts";
import type { ClaimedGroup } from "../store/claim.ts";
import type { Executor } from "../store/executor.ts";
import { placeNameOf, userIdsOf } from "../store/message-facts.ts";

/** Writes the messages of one group's members. */
export class GroupMessages {
  readonly #executor: Executor;
  readonly #group: ClaimedGroup;
  readonly #template: MessageTemplate;
  #writer: MessageWriter | null = null;

  constructor(executor: Executor, group: ClaimedGroup, template: MessageTemplate) {
    this.#executor = executor;
    this.#group = group;
    this.#template = template;
  }

  /**
   * Looks up what a chunk's messages mention beyond what its members bring along: nothing, as a rule.
   *
   * @returns what each member is told
   * @throws when Postgres does not answer
   */
  async forMembers(members: readonly Member[]): Promise<(member: Member) => Written> {
    const writer = await this.#writerOfMoment();
    if (!this.#template.uses.userId) {
      return ({ zone, locale }) => writer.messageFor({ userId: null, zone, locale });
    }
    const userIds = await userIdsOf(
      this.#executor,
      members.map(({ userNumber }) => userNumber),
    );
    return ({ userNumber, zone, locale }) => {
      const userId = userIds.get(userNumber);
      if (userId === undefined) return { kind: "fault", reason: "the user is no more" };
      return writer.messageFor({ userId, zone, locale });
    };
  }

  async #writerOfMoment(): Promise<MessageWriter> {
    if (this.#writer !== null) return this.#writer;
    const { dueAtMs, occurrence, scheduleId } = this.#group;
    const placeName = this.#template.uses.place ? await placeNameOf(this.#executor, scheduleId) : null;
    // another chunk may have been quicker
    this.#writer ??= this.#template.writerOf({ dueAt: new Date(dueAtMs).toISOString(), occurrence, placeName });
    return this.#writer;
  }
}
