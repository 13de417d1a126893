import { writeFileSync } from "node:fs";
import { join } from "node:path";

/** TLS only, on free ports, without metrics. */
export const tlsOnly = `
listeners:
  - url: mqtts://127.0.0.1:0
  - url: wss://127.0.0.1:0
    name: web
metrics: { url: off }
`;

/** MQTT over TLS on a free port and nothing else, for tests whose matter is the device. */
export const tlsAlone = `
listeners:
  - url: mqtts://127.0.0.1:0
metrics: { url: off }
est: { url: off }
log: { level: error }
`;

/** Plain and anonymous on a free port, without metrics. */
export const plainAnonymous = `
listeners:
  - url: mqtt://127.0.0.1:0
    anonymous: true
metrics: { url: off }
`;

/** Writes a configuration and returns the arguments of `postern up` that use it with a data directory beside it. */
export function configured(directory: string, text: string): string[] {
  const file = join(directory, "config.yaml");
  writeFileSync(file, text);
  return ["--config", file, "--data", join(directory, "data")];
}
