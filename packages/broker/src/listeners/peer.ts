import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";

import { errorText } from "@postern/core/errors";

import type { Peer } from "../ports.ts";

/** What the servers of all listeners have in common. */
export const socketOptions = {
  allowHalfOpen: true,
  noDelay: true,
  keepAlive: true,
  keepAliveInitialDelay: 60_000,
} as const;

/** Who is at the other end, as far as the transport knows. `pskIdentity` was proved in the handshake. */
export function peerOf(
  listener: { readonly name: string; readonly anonymous: boolean; readonly confidential: boolean },
  socket: Socket,
  pskIdentity: string | undefined,
): Peer {
  return {
    listener: listener.name,
    anonymousAllowed: listener.anonymous,
    confidential: listener.confidential,
    address: socket.remoteAddress ?? "",
    port: socket.remotePort ?? 0,
    pskIdentity,
    ...(pskIdentity === undefined ? certificateOf(socket) : noCertificate),
  };
}

const noCertificate = { certificate: undefined, certificateError: undefined } as const;

/** Asked of the socket on every connection, resumed ones too; `authorized` alone proves nothing. */
function certificateOf(socket: Socket): Pick<Peer, "certificate" | "certificateError"> {
  if (!(socket instanceof TLSSocket)) return noCertificate;
  const certificate = socket.getPeerX509Certificate()?.raw;
  return {
    certificate,
    certificateError: socket.authorized ? undefined : errorText(socket.authorizationError),
  };
}
