/**
 * How many groups are held ahead of their moments: of each moment no more than this node's share, so that the moment's
 * groups spread evenly; and in all no more than half of the slots, so that what is due already finds a free one.
 */
export class Arms {
  readonly #slots: number;
  readonly #held = new Map<number, number>();
  #total = 0;

  constructor(slots: number) {
    this.#slots = slots;
  }

  /** @returns null where the share is used up; else a hold, to be disposed when the moment has come */
  take(dueAtMs: number, share: number): Disposable | null {
    const second = Math.floor(dueAtMs / 1000);
    const held = this.#held.get(second) ?? 0;
    if (held >= share || this.#total >= Math.max(1, Math.floor(this.#slots / 2))) return null;
    this.#held.set(second, held + 1);
    this.#total += 1;
    let open = true;
    return {
      [Symbol.dispose]: () => {
        if (!open) return;
        open = false;
        this.#total -= 1;
        const left = (this.#held.get(second) ?? 1) - 1;
        if (left === 0) this.#held.delete(second);
        else this.#held.set(second, left);
      },
    };
  }
}
