import { constants } from "node:crypto";
import { createServer, type TlsOptions, type TLSSocket } from "node:tls";

import type { ListeningServer, Wiring } from "./listener.ts";
import { socketOptions } from "./peer.ts";

/** The options of a TLS server, for MQTT or HTTP on top of it. */
export function tlsOptions({ options, limits }: Wiring): TlsOptions {
  if (options.tls === undefined) throw new TypeError(`listener ${options.name} needs TLS material`);
  const { context, requestCertificate } = options.tls();
  const { secureOptions = 0 } = context;
  return {
    ...socketOptions,
    ...context,
    secureOptions: secureOptions | constants.SSL_OP_NO_RENEGOTIATION,
    requestCert: requestCertificate,
    // Whom to let in is decided at CONNECT, from the certificate's bytes, where a refusal can be explained.
    rejectUnauthorized: false,
    handshakeTimeout: limits.connectTimeoutSeconds * 1_000,
  };
}

export function createTlsListener(wiring: Wiring, accept: (socket: TLSSocket) => void): ListeningServer {
  const { options, context } = wiring;
  const server = createServer(tlsOptions(wiring), accept);
  server.on("tlsClientError", (error, socket) => {
    context.ports.log.debug({ error: error.message, address: socket.remoteAddress }, "TLS handshake failed");
    socket.destroy();
  });
  return {
    server,
    reloadTls() {
      if (options.tls !== undefined) server.setSecureContext(options.tls().context);
    },
  };
}
