import type { X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";

import { errorText } from "@postern/core/errors";

import type { Peer } from "../ports.ts";
import type { ListenerOptions } from "./listener.ts";

/** What the servers of all listeners have in common. */
export const socketOptions = {
  allowHalfOpen: true,
  noDelay: true,
} as const;

/** Who is at the other end, as far as the transport knows. `pskIdentity` was proved in the handshake. */
export function peerOf(
  listener: Pick<ListenerOptions, "name" | "anonymous" | "confidential" | "sealedPasswords">,
  socket: Socket,
  pskIdentity: string | undefined,
): Peer {
  const proof = pskIdentity === undefined ? certificateOf(socket) : noCertificate;
  return {
    listener: listener.name,
    anonymousAllowed: listener.anonymous,
    confidential: listener.confidential,
    sealedPasswords: listener.sealedPasswords,
    address: socket.remoteAddress ?? "",
    port: socket.remotePort ?? 0,
    pskIdentity,
    certificate: proof.certificate,
    intermediates: proof.intermediates,
    certificateError: proof.certificateError,
  };
}

/** Certificates that a client sends beside its own and that are passed on. */
const intermediatesMax = 8;

const noCertificate = {
  certificate: undefined,
  intermediates: undefined,
  certificateError: undefined,
} as const;

/** Asked of the socket on every connection, resumed ones too; `authorized` alone proves nothing. */
function certificateOf(socket: Socket): Pick<Peer, "certificate" | "intermediates" | "certificateError"> {
  if (!(socket instanceof TLSSocket)) return noCertificate;
  const x509 = socket.getPeerX509Certificate();
  return {
    certificate: x509?.raw,
    // Of the object itself: the runtime gives the chain away with the first one that is asked for.
    intermediates: () => intermediatesOf(x509),
    certificateError: socket.authorized ? undefined : errorText(socket.authorizationError),
  };
}

/** None when TLS verified the chain by itself: the runtime keeps it only where it did not. */
function intermediatesOf(leaf: X509Certificate | undefined): readonly Uint8Array[] {
  const found: Uint8Array[] = [];
  let issuer = leaf?.issuerCertificate;
  while (issuer !== undefined && found.length < intermediatesMax) {
    found.push(issuer.raw);
    issuer = issuer.issuerCertificate;
  }
  return found;
}
