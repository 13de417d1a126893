/** A knock port with the kernel's rules around it, on a host: counts what arrives until SIGTERM, then tells. */
import { createSocket } from "node:dgram";
import { once } from "node:events";

import { systemClock } from "@postern/core/clock";
import { defaultGuardPlan } from "@postern/gate/guard-plan";
import { NftablesFirewall } from "@postern/gate/nftables/nftables-firewall";

const port = 62_201;
const knownHint = "f3d198dbea473a46";
const socket = createSocket({ type: "udp4", recvBufferSize: 4_194_304 });
let known = 0;
let unknown = 0;
socket.on("message", (payload) => {
  if (payload.toString("hex", 0, 8) === knownHint) known++;
  else unknown++;
});
socket.bind(port);
await once(socket, "listening");
await using firewall = await NftablesFirewall.open({ clock: systemClock });
firewall.hide({
  ...defaultGuardPlan,
  hiddenPorts: [8883],
  knockPorts: [{ transport: "udp", port, payloadBytes: { min: 84, max: 84 } }],
});
await firewall.addHints([{ hint: Buffer.from(knownHint, "hex"), seconds: 3_600 }]);
const begin = process.cpuUsage();
console.log("ready");
await once(process, "SIGTERM");
const { user, system } = process.cpuUsage(begin);
const counts = firewall.counts();
console.log(`knocks of a device that arrived, of 50: ${known}`);
console.log(`other packets that arrived: ${unknown}`);
console.log(`other packets that the kernel dropped: ${counts.get("knocks_limited") ?? 0}`);
console.log(`sources whose rate the kernel remembers: ${firewall.rememberedSources()}`);
console.log(`processor time of the gate's process: ${Math.round((user + system) / 1_000)} ms`);
socket.close();
