/**
 * A million knock packets, each with another invented source: what the kernel keeps of them, what it costs to refuse one,
 * and whether knocks of devices come through. Needs root.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { createNetwork } from "@postern/gate/hosts/hosts";
import { floodArguments } from "@postern/gate/testing/flood";

import { figure } from "../support/report.ts";

const packets = Number(process.argv[2] ?? 1_000_000);
const rate = Number(process.argv[3] ?? 200_000);
const door = fileURLToPath(new URL("./door-program.ts", import.meta.url));

function slabBytes(): number {
  return 1_024 * Number(/^Slab:\s+(\d+) kB$/m.exec(readFileSync("/proc/meminfo", "utf8"))?.[1]);
}

await using network = await createNetwork({
  hosts: {
    server: { ipv4: "192.168.1.126/8" },
    client: { ipv4: "192.168.1.6/8" },
    stranger: { ipv4: "192.168.1.66/8" },
  },
});
const server = network.host("server").start(process.execPath, [door]);
await server.until(/ready/);
const before = slabBytes();
const knocks = network.host("client").start(
  process.execPath,
  floodArguments({
    to: "192.168.1.126",
    port: 62_201,
    from: "192.168.1.6",
    rate: 10,
    count: 50,
    payload: Buffer.concat([Buffer.from("f3d198dbea473a46", "hex"), Buffer.alloc(76)]),
  }),
);
const flood = await network
  .host("stranger")
  .run(process.execPath, floodArguments({ to: "192.168.1.126", port: 62_201, rate, count: packets }));
const after = slabBytes();
await knocks.ended;
figure("flood", flood.stdout.trim());
server.child.kill("SIGTERM");
const { stdout } = await server.ended;
for (const [, what = "", value = ""] of stdout.matchAll(/^(.+): (.+)$/gm)) figure(what, value);
figure(
  "kernel memory (slab) more than before, this machine",
  `${((after - before) / 2 ** 20).toFixed(1)} MiB`,
);
