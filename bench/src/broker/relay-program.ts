/**
 * The limit line: passes on bytes and looks at none of them, over TCP or TLS, with nothing but the runtime between two sockets.
 * Each connection says in its first five bytes whether it sends (`p`) or receives (`s`), and which it is; what publisher
 * 7 sends goes to subscriber 7 and to those with the index 0xffffffff. `node relay-program.ts [SERVER.pem CA.crt]`
 */
import { readFileSync } from "node:fs";
import { createServer as createTcpServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";

const [serverFile, caFile] = process.argv.slice(2);
const helloBytes = 5;
/** A client that says CONNECT gets the least of a broker that it takes to be content: what comes and goes, or is idle, costs the runtime this. */
const connect = 0x10;
const connack = Buffer.from([0x20, 2, 0, 0]);
const subscribe = 0x82;
const suback = Buffer.from([0x90, 3, 0, 1, 0]);
const everything = 0xffffffff;
const subscribers = new Map<number, Set<Socket>>();
const nobody: ReadonlySet<Socket> = new Set();

function serve(socket: Socket): void {
  let receivers: readonly ReadonlySet<Socket>[] | undefined;
  socket.setNoDelay(true);
  socket.on("error", () => socket.destroy());
  let answers = false;
  socket.on("data", (bytes: Buffer) => {
    if (answers || (receivers === undefined && bytes[0] === connect)) {
      answers = true;
      if (bytes[0] === connect) socket.write(connack);
      else if (bytes[0] === subscribe) socket.write(suback);
      return;
    }
    let rest = bytes;
    if (receivers === undefined) {
      const role = bytes.toString("latin1", 0, 1);
      const index = bytes.readUInt32LE(1);
      if (role === "s") receive(socket, index);
      receivers = role === "s" ? [] : [setOf(index), setOf(everything)];
      rest = bytes.subarray(helloBytes);
      if (rest.length === 0) return;
    }
    for (const sockets of receivers) for (const receiver of sockets) receiver.write(rest);
  });
}

function receive(socket: Socket, index: number): void {
  const sockets = setOf(index);
  sockets.add(socket);
  socket.once("close", () => sockets.delete(socket));
}

function setOf(index: number): Set<Socket> {
  const known = subscribers.get(index);
  if (known !== undefined) return known;
  const made = new Set(nobody);
  subscribers.set(index, made);
  return made;
}

function listen(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen({ host: "127.0.0.1", port: 0, backlog: 4_096 }, () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    });
  });
}

const tcp = await listen(createTcpServer(serve));
const tls =
  serverFile === undefined || caFile === undefined
    ? 0
    : await listen(
        createTlsServer(
          {
            key: readFileSync(serverFile),
            cert: readFileSync(serverFile),
            ca: readFileSync(caFile),
            requestCert: true,
            minVersion: "TLSv1.3",
          },
          serve,
        ),
      );
console.log(`ready ${JSON.stringify({ version: `Node ${process.versions.node}`, tcp, tls, ws: 0, wss: 0 })}`);
