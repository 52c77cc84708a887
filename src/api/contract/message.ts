import { z } from "zod";
import { canonicalLocale } from "../../reminder/locale.ts";
import { freeJson, lineText, localeText, text, userIdText, zoneText } from "./contract.ts";

/** Of all variants together; a worker reads them with each group that it claims. */
const variantsCharsMax = 100_000;
const variantsMax = 100;

/** A topic's texts: templates (docs/messages.md), which whoever stores them has rendered once. */
export const texts = {
  title: text(0, 1000).optional(),
  body: text(0, 10_000).optional(),
  data: freeJson.optional(),
  image: lineText(1, 2048).nullable().optional(),
  sound: lineText(1, 100).nullable().optional(),
  link: lineText(1, 2048).nullable().optional(),
};

/** So that one language has one key: what a reader's tag is looked up by. */
export const canonicalLocaleText = localeText.superRefine((tag, context) => {
  const canonical = canonicalLocale(tag);
  if (canonical === tag) return;
  const message = canonical === null ? "Must be a language tag, like pt-BR" : `Must be written ${canonical}`;
  context.addIssue({ code: "custom", message });
});

export const variants = z
  .record(z.string(), z.strictObject(texts))
  .superRefine((given, context) => {
    const tags = Object.keys(given);
    for (const tag of tags) {
      for (const { message } of canonicalLocaleText.safeParse(tag).error?.issues ?? []) {
        context.addIssue({ code: "custom", message, path: [tag] });
      }
    }
    if (tags.length > variantsMax) context.addIssue({ code: "custom", message: `At most ${variantsMax} languages` });
    if (JSON.stringify(given).length > variantsCharsMax) {
      context.addIssue({ code: "custom", message: `At most ${variantsCharsMax} characters in all languages together` });
    }
  })
  .nullable();

/** Whose message is to be shown: a user's, or that of somebody with this zone and locale. `at`: RFC 3339, default: now */
export const messagePreview = z
  .strictObject({
    userId: userIdText.optional(),
    zone: zoneText.optional(),
    locale: localeText.optional(),
    at: text(1, 64).optional(),
  })
  .refine(
    ({ userId, zone, locale }) => userId === undefined || (zone === undefined && locale === undefined),
    "Say whose by userId, or by zone and locale",
  );
