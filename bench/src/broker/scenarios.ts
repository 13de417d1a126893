import type { MessageLoad } from "./load/job.ts";
import type { Transport } from "./peers/peer.ts";

/** One line of the comparison. */
export interface Scenario {
  readonly name: string;
  readonly group: string;
  readonly transport: Transport;
  /** The relay can do it, too. */
  readonly relay: boolean;
  readonly load: Omit<MessageLoad, "warmSeconds" | "seconds">;
}

const base: Scenario["load"] = {
  version: 4,
  publishers: 20,
  subscribers: 20,
  topic: "load/{i}",
  filter: "load/{i}",
  copies: 1,
  qos: 0,
  payloadBytes: 64,
  window: 64,
  ratePerSecond: 0,
  durable: false,
  slowSubscribers: 0,
  ballast: { clients: 0, filtersEach: 0 },
};

const shapes = {
  "fan-out": { publishers: 1, subscribers: 50, filter: "load/+", copies: 50 },
  "fan-in": { publishers: 50, subscribers: 1, filter: "load/+" },
  "20-pairs": { publishers: 20, subscribers: 20 },
  "500-pairs": { publishers: 500, subscribers: 500, window: 4 },
} satisfies Readonly<Record<string, Partial<Scenario["load"]>>>;

function scenario(
  name: string,
  group: string,
  load: Partial<Scenario["load"]>,
  transport: Transport = "tcp",
): Scenario {
  const whole = { ...base, ...load };
  return { name, group, transport, load: whole, relay: whole.qos === 0 && transport !== "ws" };
}

/** Each shape at each quality of service, and over TLS. */
const shapeScenarios = Object.entries(shapes).flatMap(([shape, load]) => [
  scenario(`${shape}-qos0`, "shapes", load),
  scenario(`${shape}-qos1`, "shapes", { ...load, qos: 1 }),
  scenario(`${shape}-qos2`, "shapes", { ...load, qos: 2 }),
  scenario(`${shape}-tls`, "shapes", load, "tls"),
]);

/** The comparison: what is measured, as data. Names are what `npm run bench -- NAME` takes. */
export const scenarios: readonly Scenario[] = [...shapeScenarios];
