import { setTimeout as delay } from "node:timers/promises";

import { systemClock } from "@postern/core/clock";

import { defaultGuardPlan } from "../guard-plan.ts";
import { firewallSuite } from "../testing/firewall-suite.ts";
import { connects, echoServer, enterLoopbackNetwork, loopbackNetwork } from "../testing/loopback-network.ts";
import { namespacesRefused } from "../testing/network-namespace.ts";
import { NftablesFirewall } from "./nftables-firewall.ts";

const refused = namespacesRefused();
if (refused === undefined) await enterLoopbackNetwork();

let nextPort = 20_000;

firewallSuite("NftablesFirewall", refused, async () => {
  const server = await echoServer();
  const { port } = server;
  const firewall = await NftablesFirewall.open({ clock: systemClock });
  firewall.hide({ ...defaultGuardPlan, hiddenPorts: [port], knockPorts: [], loopbackIsOpen: false });
  return {
    firewall,
    port,
    ipv4: loopbackNetwork.ipv4,
    ipv6: loopbackNetwork.ipv6,
    connects: (from, sourcePort) => connects({ from, port, ...(sourcePort === 0 ? {} : { sourcePort }) }),
    wait: async (ms) => delay(ms),
    freeSourcePort: () => nextPort++,
    async [Symbol.asyncDispose]() {
      firewall.remove();
      await firewall[Symbol.asyncDispose]();
      server[Symbol.dispose]();
    },
  };
});
