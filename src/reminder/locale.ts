/*
 * Which language a reader gets. Tags are BCP 47 in their canonical form; what isn't one counts as no tag at all, since
 * users come from files and other programs, too.
 */

/** The canonical form of a language tag ("pt-br" and "pt_BR" are "pt-BR"); null: it is none. */
export function canonicalLocale(tag: string): string | null {
  try {
    return Intl.getCanonicalLocales(tag.replaceAll("_", "-"))[0] ?? null;
  } catch {
    return null;
  }
}

/**
 * What to look for, the most particular first: the tag itself, then with one part less at a time down to its language
 * ("zh-Hant-TW", "zh-Hant", "zh"), as RFC 4647 section 3.4 looks tags up.
 *
 * @param locale canonical
 */
export function localeChain(locale: string): readonly string[] {
  const chain: string[] = [];
  for (let tag = locale; tag !== ""; ) {
    chain.push(tag);
    tag = tag.slice(0, Math.max(0, tag.lastIndexOf("-")));
    // what stands behind a single letter belongs to it
    if (/-[a-z0-9]$/i.test(tag)) tag = tag.slice(0, -2);
  }
  return chain;
}
