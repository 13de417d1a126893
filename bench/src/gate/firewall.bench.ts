/** What changes of the kernel's firewall cost, in a network namespace of its own. Needs root. */
import { systemClock } from "@postern/core/clock";
import { defaultGuardPlan } from "@postern/gate/guard-plan";
import { NftablesFirewall } from "@postern/gate/nftables/nftables-firewall";
import { address, source } from "@postern/gate/testing/firewall-suite";
import { enterNetworkNamespace } from "@postern/gate/testing/network-namespace";

import { distribution, figure, timed } from "../support/report.ts";

await enterNetworkNamespace();
await using firewall = await NftablesFirewall.open({ clock: systemClock });
const plan = {
  ...defaultGuardPlan,
  hiddenPorts: [8883, 8884],
  knockPorts: [{ transport: "udp", port: 62_201, payloadBytes: { min: 84, max: 84 } }],
} as const;
firewall.hide(plan);

function host(index: number, first: number): string {
  return `${first}.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}`;
}

async function open(index: number): Promise<void> {
  await firewall.openWindow({ source: address(host(index, 10)), sourcePort: 0, ports: [8883] }, 600);
}

const single = 2_000;
const latencies: number[] = [];
await timed("grant, one at a time", single, async () => {
  for (let index = 0; index < single; index++) {
    const begin = performance.now();
    await open(index);
    latencies.push(performance.now() - begin);
  }
});
figure("  from the call to the kernel's answer", distribution(latencies));

const many = 50_000;
await timed("grants asked for together", many, async () =>
  Promise.all(Array.from({ length: many }, async (_, index) => open(index))),
);
await timed("bans asked for together", many, async () =>
  Promise.all(Array.from({ length: many }, async (_, index) => firewall.ban(source(host(index, 11)), 600))),
);
await timed(`grant, one at a time, with ${many} windows and bans`, 200, async () => {
  for (let index = 0; index < 200; index++) await open(index);
});
await timed("look at the rules when nothing has changed", 10_000, () => {
  for (let index = 0; index < 10_000; index++) firewall.inspect();
});
const hints = Array.from({ length: 30_000 }, (_, index) => {
  const hint = Buffer.alloc(8);
  hint.writeUInt32BE((index * 2_654_435_761) % 2 ** 32, 4);
  return { hint, seconds: 3_600 };
});
await timed("hints of devices told to the kernel", hints.length, async () => firewall.addHints(hints));
await timed(`reading ${many} windows and ${many} bans`, 1, async () => {
  await firewall.listWindows();
  await firewall.listBans();
});
await timed("making all rules anew with them", 1, () => firewall.hide(plan));
firewall.remove();
