import { parentPort } from "node:worker_threads";
import { packBodies, unpackMessages } from "./encryption-batch.ts";
import { encryptPush } from "./web-push-encryption.ts";

/** The program of `EncryptionThread`: encrypts batch after batch. */

parentPort?.on("message", ({ batch, messages }: { readonly batch: number; readonly messages: Uint8Array }) => {
  const bodies = packBodies(
    unpackMessages(messages).map(({ receiver, plaintext }) => {
      try {
        return encryptPush(receiver, plaintext);
      } catch {
        return null;
      }
    }),
  );
  parentPort?.postMessage({ batch, bodies }, [bodies.buffer]);
});
