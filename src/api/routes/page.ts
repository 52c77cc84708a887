/**
 * Cuts a page from a list that was asked for with one item more than the page holds.
 *
 * @param name what the items are called in the reply
 * @param keyOf what the next page begins behind
 * @returns the reply's body: the items and `nextCursor`, which is null when this was the last page
 */
export function pageOf<T>(name: string, items: readonly T[], limit: number, keyOf: (item: T) => string) {
  const shown = items.slice(0, limit);
  const last = shown.at(-1);
  const nextCursor = items.length > limit && last !== undefined ? keyOf(last) : null;
  return { [name]: shown, nextCursor };
}
