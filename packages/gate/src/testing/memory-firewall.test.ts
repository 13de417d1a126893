import { firewallSuite } from "./firewall-suite.ts";
import { MemoryFirewall } from "./memory-firewall.ts";

firewallSuite("MemoryFirewall", undefined, async () => {
  let now = 0;
  let nextPort = 40_000;
  const firewall = new MemoryFirewall({ clock: { wallMs: () => now, monotonicMs: () => now } });
  const port = 8883;
  return {
    firewall,
    port,
    ipv4: ["10.77.0.2", "10.77.0.3"],
    ipv6: ["fd77:0:0:2::1", "fd77:0:0:3::1"],
    connects: async (source, sourcePort) => firewall.admits(source, sourcePort, port) === "open",
    wait: async (ms) => void (now += ms),
    freeSourcePort: () => nextPort++,
    [Symbol.asyncDispose]: () => firewall[Symbol.asyncDispose](),
  };
});
