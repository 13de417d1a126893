/**
 * An actuator: a dose is given exactly once for each command: QoS 2. A command that came while the actuator was away waits for it; one that it
 * did not finish comes again.
 *
 *     node examples/actuator.ts BUNDLE [COUNT]
 */
import { connect } from "@postern/device";

const [bundle = "actuator.json", count = "Infinity"] = process.argv.slice(2);

const stop = new AbortController();
process.once("SIGINT", () => stop.abort());

await using device = await connect(bundle, { status: true });
device.on("lost", (cause) => console.error(`${cause.message}; connecting again`));

const topic = `devices/${device.name}`;
const commands = device.subscribe(`${topic}/commands`, { qos: 2, keep: true });
await commands.ready;
stop.signal.addEventListener("abort", () => void device.close());
console.log("ready");

let done = 0;
for await (const command of commands) {
  console.log(`dose of ${command.text()} ml`);
  await device.publish(`${topic}/done`, command.text(), { qos: 2 });
  if (++done === Number(count)) break;
}
