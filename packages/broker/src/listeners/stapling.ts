import type { Server as HttpsServer } from "node:https";
import type { Server } from "node:tls";

import type { ListenerOptions } from "./listener.ts";

/** Has the server hand its OCSP answer to each client that asks for it, in TLS 1.2 and 1.3. @see RFC 6066 §8, RFC 8446 §4.4.2.1 */
export function stapleAnswers(server: Server | HttpsServer, { tls }: Pick<ListenerOptions, "tls">): void {
  server.on(
    "OCSPRequest",
    (_certificate: Buffer, _issuer: Buffer, done: (error: Error | null, response: Buffer | null) => void) => {
      const tell = (answer: Uint8Array | undefined): void =>
        done(null, answer === undefined ? null : Buffer.from(answer));
      const answer = tls?.().staple?.();
      if (answer instanceof Promise) void answer.then(tell);
      else tell(answer);
    },
  );
}
