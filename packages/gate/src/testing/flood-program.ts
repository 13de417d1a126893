/**
 * `node flood-program.ts '{"destination": …}'`: sends datagrams with invented or given sources at a rate, and says at the end
 * how many it sent. A program of its own, because it runs on another host than the test.
 */
import { randomBytes } from "node:crypto";
import { parseArgs } from "node:util";

import { openRawSocket } from "./raw-socket.ts";

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

function randomSource(): string {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = randomBytes(6);
  if (to.includes(":"))
    return `2001:db8:${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}::${((e << 8) | f).toString(16)}`;
  return `${1 + (a % 99)}.${b}.${c}.${1 + (d % 250)}`;
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
    const isTaken = socket.send({
      source: from === "random" ? randomSource() : from,
      sourcePort: 1_024 + (sent % 60_000),
      destination: to,
      port: Number(values.port),
      payload: given ?? randomBytes(84),
    });
    if (!isTaken) refused++;
    sent++;
  }
  await new Promise((resolve) => setTimeout(resolve, 1));
}
const seconds = (performance.now() - begin) / 1_000;
process.stdout.write(
  `sent ${sent} refused ${refused} in ${seconds.toFixed(2)} s, ${Math.round(sent / seconds)} a second\n`,
);
