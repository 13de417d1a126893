/**
 * `node knocker-program.ts SERVER ADDRESS…`: from each address, one knock of another device, and connections every half millisecond until
 * one is answered. Prints the milliseconds that took, or "lost".
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { connect, type Socket } from "node:net";

import { address } from "@postern/gate/testing/firewall-suite";
import { knockOf, servicePort } from "@postern/gate/testing/test-gate";

const knockPort = 62_201;
const attemptEveryMs = 0.5;
const patienceMs = 3_000;
const pauseMs = 40;
const [server = "", ...addresses] = process.argv.slice(2);

/** Milliseconds from the knock to a connection; `undefined` when there was none in time. */
async function measure(from: string, device: string): Promise<number | undefined> {
  const knocks = createSocket("udp4");
  knocks.bind(0, from);
  await once(knocks, "listening");
  const packet = knockOf(device, Date.now(), { address: address(from) });
  const sockets: Socket[] = [];
  const begin = performance.now();
  knocks.send(packet, knockPort, server);
  const found = await new Promise<number | undefined>((resolve) => {
    const attempt = (): void => {
      const elapsed = performance.now() - begin;
      if (elapsed > patienceMs) return resolve(undefined);
      if (sockets.length < elapsed / attemptEveryMs && sockets.length < 400) {
        const socket = connect({ host: server, port: servicePort, localAddress: from });
        socket.on("connect", () => resolve(performance.now() - begin)).on("error", () => {});
        sockets.push(socket);
      }
      timer = setImmediate(attempt);
    };
    let timer = setImmediate(attempt);
    void knocks.once("close", () => clearImmediate(timer));
  });
  knocks.close();
  for (const socket of sockets) socket.destroy();
  return found;
}

for (const [index, from] of addresses.entries()) {
  const ms = await measure(from, `device-${index * 37}`);
  console.log(ms === undefined ? "lost" : ms.toFixed(3));
  await new Promise((resolve) => setTimeout(resolve, pauseMs));
}
