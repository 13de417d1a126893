/**
 * `node server-program.ts DEVICES DIRECTORY`: what stands behind a gate: a service on the hidden port, and the server's end of the gate's
 * socket with so many devices. Says "ready" when the gate knows them.
 */
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";

import { silentLog } from "@postern/core/log";
import { BrokerLink } from "@postern/gate/link/broker-link";
import { askGate } from "@postern/gate/link/operator-link";
import { linkDevice, servicePort, until } from "@postern/gate/testing/test-gate";

const [count = "10", directory = "."] = process.argv.slice(2);
const server = createServer((socket) => socket.on("error", () => {})).listen(servicePort, "::");
await once(server, "listening");
const devices = Array.from({ length: Number(count) }, (_, index) => linkDevice(`device-${index}`));
const path = join(directory, "gate.sock");
using link = new BrokerLink({
  path,
  source: { devices: () => devices, connections: () => [] },
  nowMs: () => Date.now(),
  log: silentLog,
});
await until(async () => {
  if (!link.connected) return false;
  const answer = await askGate(path, { kind: "status" });
  return answer.kind === "status" && answer.status.ready && answer.status.devices === devices.length;
}, 120_000);
console.log("ready");
await once(process, "SIGTERM");
server.close();
