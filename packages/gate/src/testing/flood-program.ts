/**
 * `node flood-program.ts '{"destination": …}'`: sends datagrams with invented or given sources at a rate, and says at the end
 * how many it sent. A program of its own, because it runs on another host than the test.
 */
import { randomBytes } from "node:crypto";
import { parseArgs } from "node:util";

import { ipPacket } from "./raw-packets.ts";
import { openRawSocket, socketAddress } from "./raw-socket.ts";

const { values } = parseArgs({
  options: {
    to: { type: "string" },
    port: { type: "string" },
    /** `random` for another one each time. */
    from: { type: "string", default: "random" },
    /** Packets a second. */
    rate: { type: "string", default: "1000" },
    count: { type: "string" },
    seconds: { type: "string" },
    /** Payload in hex; random bytes of a knock packet's length unless given. */
    payload: { type: "string" },
  },
});

const { to = "", from, payload } = values;
const rate = Number(values.rate);
const count = values.count === undefined ? Infinity : Number(values.count);
const endMs = values.seconds === undefined ? Infinity : 1_000 * Number(values.seconds);
const given = payload === undefined ? undefined : Buffer.from(payload, "hex");

/** Packets are made once and changed where they differ: making one costs as much as sending it. */
const isIpv4 = !to.includes(":");
const addressAt = isIpv4 ? 12 : 8;
const addressBytes = isIpv4 ? 4 : 16;
const payloadAt = isIpv4 ? 28 : 48;
const invented = from === "random";
if (invented && !isIpv4) throw new RangeError("invented IPv6 sources would need a checksum each");
const packet = ipPacket({
  source: invented ? "1.0.0.1" : from,
  sourcePort: 40_000,
  destination: to,
  port: Number(values.port),
  payload: given ?? Buffer.alloc(84),
});
const destination = socketAddress(to);
const noise = randomBytes(65_536);

/** Another source, and another beginning of the payload, where none was given. */
function vary(count: number): void {
  const at = (count * 17) % (noise.length - 64);
  if (invented) {
    packet.set(noise.subarray(at, at + addressBytes), addressAt);
    packet.writeUInt8(1 + (packet.readUInt8(addressAt) % 9), addressAt);
    packet.writeUInt16BE(count & 0xffff, addressAt + 2);
  }
  if (given === undefined) {
    packet.set(noise.subarray(at + 8, at + 40), payloadAt);
    packet.writeUInt32BE(count, payloadAt);
  }
}

using socket = await openRawSocket();
const begin = performance.now();
let sent = 0;
let refused = 0;
for (;;) {
  const elapsed = performance.now() - begin;
  if (elapsed > endMs || sent >= count) break;
  const due = Math.min(count, (elapsed * rate) / 1_000 + 1);
  while (sent < due) {
    if (isIpv4) vary(sent);
    if (!socket.sendPacket(packet, destination)) refused++;
    sent++;
    if (sent % 1_000 === 0 && performance.now() - begin > endMs) break;
  }
  await new Promise((resolve) => setTimeout(resolve, 1));
}
const seconds = (performance.now() - begin) / 1_000;
process.stdout.write(
  `sent ${sent} refused ${refused} in ${seconds.toFixed(2)} s, ${Math.round(sent / seconds)} a second\n`,
);
