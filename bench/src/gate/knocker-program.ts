/**
 * `node knocker-program.ts SERVER PACKETS ADDRESS…`: from each address, one knock of another device, and connections until one is answered. The
 * packets are those of a file, each base64 by its address, or else our own (`-`). Before
 * each, what the machine takes for a datagram there and back and for a timer, so that its part can be seen. A line of JSON for each; times on
 * the machine's monotonic clock.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

import { monotonicMs } from "@postern/gate/knock-trace";
import { address } from "@postern/gate/testing/firewall-suite";
import { knockOf, servicePort } from "@postern/gate/testing/test-gate";

import { echoPort, knockPort } from "./ports.ts";

/** Often while it matters, then less: each costs the machine that is measured. */
const attemptEveryMs = 1;
const attemptsOften = 50;
const attemptSeldomMs = 10;
const patienceMs = 5_000;
const pauseMs = 25;
const timerMs = 5;
const [server = "", file = "-", ...addresses] = process.argv.slice(2);
const given: Record<string, string> = file === "-" ? {} : JSON.parse(readFileSync(file, "utf8"));

async function echo(): Promise<number> {
  const socket = createSocket("udp4");
  socket.bind(0);
  await once(socket, "listening");
  const begin = monotonicMs();
  socket.send(Buffer.alloc(84), echoPort, server);
  await once(socket, "message", { signal: AbortSignal.timeout(patienceMs) }).catch(() => undefined);
  const ms = monotonicMs() - begin;
  socket.close();
  return ms;
}

async function timerLateness(): Promise<number> {
  const begin = monotonicMs();
  await delay(timerMs);
  return monotonicMs() - begin - timerMs;
}

/** When the knock was sent, and when a connection was made; `null` when there was none in time. */
async function knock(
  from: string,
  device: string,
): Promise<{ readonly sentMs: number; readonly connectedMs: number | null }> {
  const knocks = createSocket("udp4");
  knocks.bind(0, from);
  await once(knocks, "listening");
  const ready = given[from];
  const packet =
    ready === undefined
      ? knockOf(device, Date.now(), { address: address(from) })
      : Buffer.from(ready, "base64");
  const sockets: Socket[] = [];
  const connected = Promise.withResolvers<number>();
  let isOver = false;
  const attempt = (): void => {
    if (isOver) return;
    const socket = connect({ host: server, port: servicePort, localAddress: from });
    socket.on("connect", () => connected.resolve(monotonicMs())).on("error", () => {});
    sockets.push(socket);
    setTimeout(attempt, sockets.length < attemptsOften ? attemptEveryMs : attemptSeldomMs);
  };
  const sentMs = monotonicMs();
  knocks.send(packet, knockPort, server, attempt);
  const connectedMs = await Promise.race([connected.promise, delay(patienceMs, null)]);
  isOver = true;
  knocks.close();
  for (const socket of sockets) socket.destroy();
  return { sentMs, connectedMs };
}

for (const [index, from] of addresses.entries()) {
  const machine = { echoMs: await echo(), timerMs: await timerLateness() };
  const device = `device-${index * 37}`;
  console.log(JSON.stringify({ device, ...machine, ...(await knock(from, device)) }));
  await delay(pauseMs);
}
