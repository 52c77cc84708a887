import { apnsCollapseId, apnsId } from "../reminder/delivery-id.ts";
import { apnsPayload, apnsPayloadBytesMax } from "./apns-body.ts";
import type { Evidence } from "./apns-evidence.ts";
import { apnsOutcome, saysTokenExpired } from "./apns-reply.ts";
import type { ProviderToken, ProviderTokens } from "./apns-token.ts";
import type { Provider } from "./authorised-sending.ts";
import type { Moment, OnReply, Outcome } from "./channel.ts";
import type { Http2Lane } from "./http2-lane.ts";

/** Apple's answers are one short object. */
const replyBytesMax = 4_096;

/** Where a destination's requests go and how they are authorised. */
export interface ApnsRoute {
  readonly lane: Pick<Http2Lane, "post" | "abort">;
  readonly tokens: ProviderTokens;
  readonly bundleId: string;
  readonly evidence: Evidence;
  readonly onReply?: OnReply | undefined;
}

const noToken: Outcome = { kind: "auth", reason: "no token can be signed with the destination's private key" };
const tooYoung: Outcome = {
  kind: "auth",
  reason: "ExpiredProviderToken, though the token is new: look at this machine's clock",
  status: 403,
};

/** Apple's push service as `AuthorisedSending` needs it. @param nowMs epoch milliseconds */
export function apnsProvider(
  { lane, tokens, bundleId, evidence, onReply }: ApnsRoute,
  moment: Moment,
  nowMs: () => number,
): Provider<ProviderToken> {
  const shared = fixedHeaders(moment, bundleId);
  return {
    lane,
    onReply,
    replyBytesMax,
    payloadBytesMax: apnsPayloadBytesMax,
    payloadBytes: ({ message }) => apnsPayload(message).length,
    parcel: ({ deliveryId, address, message }, { jwt }) => ({
      path: `/3/device/${encodeURIComponent(address)}`,
      headers: [
        ...shared,
        "authorization",
        `bearer ${jwt}`,
        "apns-id",
        apnsId(deliveryId),
        "apns-collapse-id",
        apnsCollapseId(deliveryId),
      ],
      body: apnsPayload(message),
    }),
    token: () =>
      tokens.current().then(
        (token) => ({ kind: "token", token }),
        () => ({ kind: "refused", outcome: noToken }),
      ),
    saysTokenRefused: saysTokenExpired,
    async tokenInPlaceOf(refused) {
      const token = await tokens.replacing(refused).catch(() => null);
      return token === null ? { kind: "refused", outcome: tooYoung } : { kind: "token", token };
    },
    outcome: (ending) => evidence.weigh(apnsOutcome(ending, nowMs())),
  };
}

/** "Sending notification requests to APNs", Apple. The expiration is in seconds: after it Apple gives up too. */
function fixedHeaders({ expiresAt, priority }: Moment, bundleId: string): readonly string[] {
  return [
    ...["apns-topic", bundleId],
    ...["apns-push-type", "alert"],
    ...["apns-priority", priority === "high" ? "10" : "5"],
    ...["apns-expiration", String(Math.floor(Date.parse(expiresAt) / 1_000))],
  ];
}
