import type { Provider } from "./authorised-sending.ts";
import type { OnReply } from "./channel.ts";
import { type FcmBodies, fcmPayloadBytesMax } from "./fcm-body.ts";
import { fcmOutcome, saysTokenRefused } from "./fcm-reply.ts";
import type { AccessToken, AccessTokens } from "./fcm-token.ts";
import type { Http2Lane } from "./http2-lane.ts";

/** FCM answers with one object, and names in it the fields that it refuses. */
const replyBytesMax = 16_384;

/** Where a destination's requests go and how they are authorised. */
export interface FcmRoute {
  readonly lane: Pick<Http2Lane, "post" | "abort">;
  readonly tokens: Pick<AccessTokens, "current" | "replacing">;
  readonly onReply?: OnReply | undefined;
}

/** FCM's HTTP v1 API as `AuthorisedSending` needs it. @param nowMs epoch milliseconds */
export function fcmProvider(
  { lane, tokens, onReply }: FcmRoute,
  bodies: FcmBodies,
  nowMs: () => number,
): Provider<AccessToken> {
  return {
    lane,
    onReply,
    replyBytesMax,
    payloadBytesMax: fcmPayloadBytesMax,
    payloadBytes: ({ message }) => bodies.payloadBytes(message),
    parcel: (delivery, { bearer }) => ({
      headers: ["content-type", "application/json", "authorization", bearer],
      body: bodies.body(delivery),
    }),
    token: () => tokens.current(),
    saysTokenRefused,
    async tokenInPlaceOf(refused, ending) {
      const fresh = await tokens.replacing(refused);
      // The account is refused for good: so is what it was to authorise. Else only the asking has failed.
      const isAccountRefused = fresh.kind === "refused" && fresh.outcome.kind === "auth";
      return isAccountRefused ? { kind: "refused", outcome: fcmOutcome(ending, nowMs()) } : fresh;
    },
    outcome: (ending) => fcmOutcome(ending, nowMs()),
  };
}
