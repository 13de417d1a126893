/**
 * A sensor: a temperature each second, with QoS 0. A value that is lost does not matter: the next one comes.
 *
 *     node examples/sensor.ts BUNDLE [COUNT]
 */
import { setTimeout as delay } from "node:timers/promises";

import { connect } from "@postern/device";

const [bundle = "sensor.json", count = "Infinity"] = process.argv.slice(2);

await using device = await connect(bundle, { status: true });
for (let n = 0; n < Number(count); n++) {
  const celsius = (21 + Math.sin(n / 10)).toFixed(1);
  const { outcome } = await device.publish(`devices/${device.name}/temperature`, celsius, { qos: 0 });
  console.log(`${celsius} °C ${outcome}`);
  await delay(1_000);
}
