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

/** Who is at the other end, as far as the transport knows. */
export function peerOf(
  listener: { readonly name: string; readonly anonymous: boolean; readonly confidential: boolean },
  socket: Socket,
): Peer {
  const { certificate, certificateError } = certificateOf(socket);
  return {
    listener: listener.name,
    anonymousAllowed: listener.anonymous,
    confidential: listener.confidential,
    address: socket.remoteAddress ?? "",
    port: socket.remotePort ?? 0,
    certificate,
    certificateError,
  };
}

/** Asked of the socket on every connection, resumed ones too; `authorized` alone proves nothing. */
function certificateOf(socket: Socket): Pick<Peer, "certificate" | "certificateError"> {
  if (!(socket instanceof TLSSocket)) return { certificate: undefined, certificateError: undefined };
  const certificate = socket.getPeerX509Certificate()?.raw;
  return {
    certificate,
    certificateError: socket.authorized ? undefined : errorText(socket.authorizationError),
  };
}
