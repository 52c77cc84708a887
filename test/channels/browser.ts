import { createECDH, type ECDH, randomBytes } from "node:crypto";
import { createRequire } from "node:module";

/** An implementation of RFC 8188 and 8291 by others (Mozilla's). */
const ece = createRequire(import.meta.url)("http_ece") as {
  decrypt(body: Buffer, params: { version: "aes128gcm"; privateKey: ECDH; authSecret: Buffer }): Buffer;
};

/** A browser's side of a push subscription: it holds the keys and can read what is pushed. */
export class Browser {
  readonly #ecdh = createECDH("prime256v1");
  readonly publicKey = this.#ecdh.generateKeys();
  readonly auth = randomBytes(16);

  /** what the browser hands to its web page's server, `JSON.stringify(subscription)` but for `expirationTime` */
  subscription(endpoint: string): string {
    return JSON.stringify({
      endpoint,
      keys: { p256dh: this.publicKey.toString("base64url"), auth: this.auth.toString("base64url") },
    });
  }

  /** @throws where the body is not for this browser, or was changed */
  decrypt(body: Buffer): Buffer {
    return ece.decrypt(body, { version: "aes128gcm", privateKey: this.#ecdh, authSecret: this.auth });
  }
}
