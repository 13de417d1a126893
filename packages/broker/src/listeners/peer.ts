import type { Socket } from "node:net";
import { TLSSocket, type DetailedPeerCertificate } from "node:tls";

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

/** Certificates that a client sends beside its own and that are passed on. */
const intermediatesMax = 8;

const noCertificate = { certificate: undefined, certificateError: undefined } as const;

/** Asked of the socket on every connection, resumed ones too; `authorized` alone proves nothing. */
function certificateOf(socket: Socket): Pick<Peer, "certificate" | "intermediates" | "certificateError"> {
  if (!(socket instanceof TLSSocket)) return noCertificate;
  const certificate = socket.getPeerX509Certificate()?.raw;
  return {
    certificate,
    intermediates: () => intermediatesOf(socket),
    certificateError: socket.authorized ? undefined : errorText(socket.authorizationError),
  };
}

function intermediatesOf(socket: TLSSocket): readonly Uint8Array[] {
  const found: Uint8Array[] = [];
  let certificate: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true);
  while (found.length < intermediatesMax) {
    const issuer: DetailedPeerCertificate | undefined = certificate?.issuerCertificate;
    // One that signed itself is its own issuer; a connection that is gone has none.
    if (issuer?.raw === undefined || issuer.fingerprint256 === certificate?.fingerprint256) break;
    found.push(issuer.raw);
    certificate = issuer;
  }
  return found;
}
