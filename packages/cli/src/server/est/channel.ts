import { TLSSocket } from "node:tls";

/** What a connection proved, and what binds a request to it. */
export interface Channel {
  readonly address: string;
  /** The client's leaf certificate (DER); TLS proved that it holds the key, and nothing else is taken from TLS. */
  readonly certificate: Uint8Array | undefined;
  /** What a challenge password may be: tls-unique (TLS 1.2) and tls-exporter, in base64. @see RFC 7030 §3.5, RFC 9266 */
  readonly bindings: readonly string[];
}

const exporterBytes = 32;

function bindingsOf(socket: TLSSocket): string[] {
  const exporter = socket.exportKeyingMaterial(exporterBytes, "EXPORTER-Channel-Binding", Buffer.alloc(0));
  // Sessions are never resumed here, so the first Finished of a handshake is the client's. @see RFC 5929 §3.1
  const unique = socket.getProtocol() === "TLSv1.2" ? socket.getPeerFinished() : undefined;
  return [exporter, unique].flatMap((bytes) => (bytes === undefined ? [] : [bytes.toString("base64")]));
}

/** The channel of a request's socket, which is a TLS socket. */
export function channelOf(socket: unknown): Channel {
  if (!(socket instanceof TLSSocket)) throw new TypeError("the request did not come by TLS");
  const { raw } = socket.getPeerCertificate();
  return {
    address: socket.remoteAddress ?? "",
    certificate: raw,
    bindings: bindingsOf(socket),
  };
}
