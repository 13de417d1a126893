/**
 * Debian's fwknopd beside our gate: from a knock to a connection, idle and under the same junk, in the same run. fwknopd reads packets by
 * libpcap (its default) and from a UDP socket (`-U`), hides one port with iptables-nft, knows one client and gets packets of the real one; our gate
 * has 10,000 devices. Needs root, fwknop-client and a Debian mirror: fwknopd is fetched and unpacked, not installed.
 * `npm run bench -- gate-fwknop [--knocks 20] [--rates 0,500,2000,20000,50000]`
 */
import { parseArgs } from "node:util";

import { servicePort, temporaryDirectory } from "@postern/gate/testing/test-gate";

import { distribution, figure } from "../support/report.ts";
import { fetchFwknop, type FwknopMode, type FwknopServer } from "./fwknop-server.ts";
import { connections, knockAt, measureGate, node, serverAddress, type KnockMeasurement } from "./knocks.ts";

const { values } = parseArgs({
  options: {
    knocks: { type: "string", default: "20" },
    rates: { type: "string", default: "0,500,2000,20000,50000" },
  },
});
const knocks = Number(values.knocks);
using directory = temporaryDirectory();
const fwknop = fetchFwknop(directory.path);

for (const rate of values.rates.split(",").map(Number)) {
  console.log(`\n${rate} junk packets a second asked for`);
  print("postern, 10,000 devices", await measureGate(10_000, { knocks, rate }));
  for (const mode of ["pcap", "udp"] as const)
    print(`fwknopd, ${mode}, 1 client`, await measureFwknop(fwknop, mode, rate));
}

async function measureFwknop(
  server: FwknopServer,
  mode: FwknopMode,
  rate: number,
): Promise<KnockMeasurement> {
  const door = {
    packet: (address: string) => server.packet(address, serverAddress, servicePort),
    async start(host: Parameters<typeof node>[0]) {
      await node(host, "./service-program.ts").until(/ready/);
      const running = await server.start(host, mode, servicePort);
      return { begin: () => {}, end: async () => running[Symbol.asyncDispose]() };
    },
  };
  return knockAt(door, directory.path, { knocks, rate });
}

function print(what: string, { knocks, machine }: KnockMeasurement): void {
  // Without the first, for which all programs have just begun.
  const { ms, lost } = connections(knocks.slice(1));
  figure(what, `${distribution(ms)}, ${lost} lost; ${machine}`);
}
