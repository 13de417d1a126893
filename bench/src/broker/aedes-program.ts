/** Aedes with the listeners that are compared. `node aedes-program.ts SERVER.pem CA.crt` */
import { readFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { createServer as createTcpServer, type Server } from "node:net";
import { createServer as createTlsServer } from "node:tls";

import { Aedes } from "aedes";
import { createWebSocketStream, WebSocketServer } from "ws";

/** It does not say it itself. */
const version = /"version": "([^"]+)"/.exec(
  readFileSync(new URL("./package.json", import.meta.resolve("aedes")), "utf8"),
)?.[1];
const [serverFile = "", caFile = ""] = process.argv.slice(2);
const broker = await Aedes.createBroker({ concurrency: 1_000, queueLimit: 100_000 });

function listen(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen({ host: "127.0.0.1", port: 0, backlog: 4_096 }, () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    });
  });
}

const tcp = await listen(createTcpServer({ noDelay: true }, (socket) => broker.handle(socket)));
const tls = await listen(
  createTlsServer(
    {
      key: readFileSync(serverFile),
      cert: readFileSync(serverFile),
      ca: readFileSync(caFile),
      requestCert: true,
      minVersion: "TLSv1.3",
    },
    (socket) => broker.handle(socket.setNoDelay(true)),
  ),
);
const http = createHttpServer();
new WebSocketServer({ server: http }).on("connection", (socket) =>
  broker.handle(createWebSocketStream(socket)),
);
const ws = await listen(http);
console.log(`ready ${JSON.stringify({ version, tcp, tls, ws, wss: 0 })}`);
