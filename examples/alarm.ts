/**
 * An alarm: it must arrive, twice rather than never: QoS 1. What the server has not acknowledged is kept in a directory, and is sent
 * again, also by the next process.
 *
 *     node examples/alarm.ts BUNDLE TEXT
 */
import { connect } from "@postern/device";

const [bundle = "alarm.json", text = "smoke in the cellar"] = process.argv.slice(2);

await using device = await connect(bundle, { store: `${bundle}.outgoing` });
const alarm = JSON.stringify({ text, at: new Date().toISOString() });
await device.publish(`devices/${device.name}/alarm`, alarm, { qos: 1 });
console.log(`the server has it: ${alarm}`);
