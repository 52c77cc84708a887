import { z } from "zod";
import { checkP256Key, checkRsaKey, checkVapidPair, newVapidPair } from "../../channels/credentials.ts";
import { CarillonError } from "../../errors.ts";
import { coded, type Parser, parser, slugText } from "./contract.ts";

/** Checked by the egress guard, which has more to say of it than a pattern. */
const url = z.string().max(10_000);
const name = slugText;
const disabled = z.boolean();

/** Which kind of destination is meant decides what else may be said. */
export const destinationChannels = ["webhook", "fcm", "apns", "web-push"] as const;
export type DestinationChannel = (typeof destinationChannels)[number];

const batchSize = z.number().int().min(1).max(500);
/** Standard Webhooks: 24 to 64 random bytes */
const secret = z.string().max(100).refine(isSecret, 'Must be "whsec_" and the base64 of 24 to 64 bytes');

const newReceiver = z.strictObject({
  name,
  channel: z.literal("webhook").default("webhook"),
  url,
  batchSize: batchSize.default(1),
  /** without one, one is generated */
  secret: secret.optional(),
});
const receiverPatch = z.strictObject({
  url: url.optional(),
  batchSize: batchSize.optional(),
  /** the newest: old ones go on signing until they are retired; "generate" for one of ours */
  secret: z
    .string()
    .max(100)
    .refine((value) => value === "generate" || isSecret(value), 'Must be "generate", or "whsec_" and base64')
    .optional(),
  /** only the newest stays */
  retireSecrets: z.boolean().optional(),
  disabled: disabled.optional(),
});

const pem = z.string().max(20_000);

/** The JSON file that Google gives; what else is in it is of no account here. */
const serviceAccount = z
  .object({
    type: z.literal("service_account", 'Must be "service_account"'),
    project_id: z.string().regex(/^[a-z0-9][a-z0-9.:-]{0,99}$/, "Must be a project's id"),
    client_email: z.string().regex(/^[\x21-\x7e]{1,200}$/, "Must be an e-mail address"),
    private_key: pem.transform(sound((key) => checkRsaKey(key, ""))),
    token_uri: url.default("https://oauth2.googleapis.com/token"),
  })
  .transform(({ project_id, client_email, private_key, token_uri }) => ({
    projectId: project_id,
    clientEmail: client_email,
    privateKey: private_key,
    tokenUrl: token_uri,
  }));
const newFcm = z.strictObject({ name, channel: z.literal("fcm"), serviceAccount, url: url.optional() });
const fcmPatch = z.strictObject({
  /** of the same project, whose tokens the endpoints are */
  serviceAccount: serviceAccount.optional(),
  url: url.optional(),
  disabled: disabled.optional(),
});

const appleId = z.string().regex(/^[A-Z0-9]{10}$/, "Must be ten capital letters and digits");
const p8 = pem.transform(sound((key) => checkP256Key(key, "")));
const eitherUrl = { message: "Give sandbox or url, not both", path: ["url"] };
const newApns = z
  .strictObject({
    name,
    channel: z.literal("apns"),
    teamId: appleId,
    keyId: appleId,
    bundleId: z.string().regex(/^[A-Za-z0-9.-]{1,155}$/, "Must be a bundle id, like com.example.app"),
    /** the .p8 file's text */
    privateKey: p8,
    sandbox: z.boolean().optional(),
    url: url.optional(),
  })
  .refine(({ sandbox, url }) => sandbox === undefined || url === undefined, eitherUrl);
const apnsPatch = z
  .strictObject({
    teamId: appleId.optional(),
    keyId: appleId.optional(),
    privateKey: p8.optional(),
    sandbox: z.boolean().optional(),
    url: url.optional(),
    disabled: disabled.optional(),
  })
  .refine(({ sandbox, url }) => sandbox === undefined || url === undefined, eitherUrl)
  .refine(({ keyId, privateKey }) => (keyId === undefined) === (privateKey === undefined), {
    message: "A key and its id are changed together",
    path: ["privateKey"],
    params: coded("bad_credentials"),
  });

/** RFC 8292: the push service reaches who sends by it. */
const subject = z
  .string()
  .max(200)
  .regex(/^(?:mailto:[^\s@]+@[^\s@]+|https:\/\/[^\s]+)$/, "Must be mailto: and an e-mail address, or an https: URL");
const newWebPush = z
  .strictObject({
    name,
    channel: z.literal("web-push"),
    subject,
    publicKey: z.string().max(200).optional(),
    privateKey: z.string().max(200).optional(),
  })
  .transform(({ publicKey, privateKey, ...rest }, context) => {
    if (publicKey === undefined && privateKey === undefined) return { ...rest, ...newVapidPair() };
    try {
      return { ...rest, ...checkVapidPair({ publicKey: publicKey ?? "", privateKey: privateKey ?? "" }) };
    } catch (error) {
      return refuse(error, context);
    }
  });
const webPushPatch = z.strictObject({ subject: subject.optional(), disabled: disabled.optional() });

const receiverParser = parser(newReceiver);
const fcmParser = parser(newFcm);
const apnsParser = parser(newApns);
const webPushParser = parser(newWebPush);
const channelParser = parser(z.looseObject({ channel: z.enum(destinationChannels).default("webhook") }));

export type NewDestinationBody =
  | z.output<typeof newReceiver>
  | z.output<typeof newFcm>
  | z.output<typeof newApns>
  | z.output<typeof newWebPush>;

/** A new destination: by its channel, so that the mistakes that are told are those of what was meant. */
export const newDestination: Parser<NewDestinationBody> = {
  parse: (input) =>
    ({
      webhook: receiverParser,
      fcm: fcmParser,
      apns: apnsParser,
      "web-push": webPushParser,
    })[channelParser.parse(input).channel].parse(input),
};

/** What may be changed, by the channel, which stays. */
export const destinationPatches = {
  webhook: parser(receiverPatch),
  fcm: parser(fcmPatch),
  apns: parser(apnsPatch),
  "web-push": parser(webPushPatch),
} as const satisfies Record<DestinationChannel, Parser<object>>;

function isSecret(value: string): boolean {
  const [, base64 = ""] = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(value) ?? [];
  const bytes = Buffer.from(base64, "base64");
  return bytes.length >= 24 && bytes.length <= 64 && bytes.toString("base64") === base64;
}

/** A check that throws, as a step of the contract. */
function sound(check: (value: string) => string): (value: string, context: z.RefinementCtx<string>) => string {
  return (value, context) => {
    try {
      return check(value);
    } catch (error) {
      return refuse(error, context);
    }
  };
}

function refuse(error: unknown, context: z.RefinementCtx): never {
  if (!(error instanceof CarillonError)) throw error;
  const path = error.pointer?.split("/").slice(1) ?? [];
  context.addIssue({ code: "custom", message: error.message, path, params: coded(error.code) });
  return z.NEVER;
}
