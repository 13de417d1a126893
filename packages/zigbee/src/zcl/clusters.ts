/** A cluster: its name and its commands by identifier. @see Zigbee Cluster Library */
export interface ZclCluster {
  readonly name: string;
  /** Commands that the server receives. */
  readonly received: Readonly<Record<number, string>>;
  /** Commands that the server generates. */
  readonly generated: Readonly<Record<number, string>>;
}

function cluster(
  name: string,
  received: Readonly<Record<number, string>> = {},
  generated: Readonly<Record<number, string>> = {},
): ZclCluster {
  return { name, received, generated };
}

/** The clusters that a home or a plant uses. */
export const zclClusters: ReadonlyMap<number, ZclCluster> = new Map([
  [0x0000, cluster("Basic", { 0x00: "reset to factory defaults" })],
  [0x0001, cluster("Power Configuration")],
  [
    0x0003,
    cluster("Identify", { 0x00: "identify", 0x01: "identify query" }, { 0x00: "identify query response" }),
  ],
  [0x0004, cluster("Groups", { 0x00: "add group", 0x02: "get membership", 0x03: "remove group" })],
  [0x0005, cluster("Scenes", { 0x00: "add scene", 0x04: "store scene", 0x05: "recall scene" })],
  [0x0006, cluster("On/Off", { 0x00: "off", 0x01: "on", 0x02: "toggle", 0x40: "off with effect" })],
  [
    0x0008,
    cluster("Level Control", {
      0x00: "move to level",
      0x01: "move",
      0x02: "step",
      0x03: "stop",
      0x04: "move to level with on/off",
    }),
  ],
  [0x000a, cluster("Time")],
  [
    0x0019,
    cluster(
      "OTA Upgrade",
      { 0x01: "query next image", 0x03: "image block request", 0x06: "upgrade end" },
      { 0x00: "image notify", 0x02: "query next image response", 0x05: "image block response" },
    ),
  ],
  [0x0020, cluster("Poll Control", { 0x00: "check-in response" }, { 0x00: "check-in" })],
  [
    0x0021,
    cluster(
      "Green Power",
      { 0x00: "notification", 0x04: "commissioning notification" },
      { 0x01: "pairing", 0x02: "proxy commissioning mode", 0x06: "response" },
    ),
  ],
  [
    0x0101,
    cluster(
      "Door Lock",
      { 0x00: "lock", 0x01: "unlock", 0x05: "set PIN code" },
      { 0x00: "lock response", 0x01: "unlock response", 0x20: "operation event" },
    ),
  ],
  [0x0102, cluster("Window Covering", { 0x00: "up", 0x01: "down", 0x02: "stop" })],
  [0x0201, cluster("Thermostat", { 0x00: "setpoint raise or lower" })],
  [
    0x0300,
    cluster("Colour Control", {
      0x00: "move to hue",
      0x07: "move to colour",
      0x0a: "move to colour temperature",
    }),
  ],
  [0x0400, cluster("Illuminance Measurement")],
  [0x0402, cluster("Temperature Measurement")],
  [0x0403, cluster("Pressure Measurement")],
  [0x0405, cluster("Relative Humidity Measurement")],
  [0x0406, cluster("Occupancy Sensing")],
  [
    0x0500,
    cluster(
      "IAS Zone",
      { 0x00: "zone enroll response" },
      { 0x00: "zone status change", 0x01: "zone enroll request" },
    ),
  ],
  [0x0501, cluster("IAS ACE", { 0x00: "arm", 0x02: "emergency" }, { 0x00: "arm response" })],
  [0x0502, cluster("IAS WD", { 0x00: "start warning", 0x01: "squawk" })],
  [0x0702, cluster("Metering")],
  [0x0704, cluster("Messaging")],
  [
    0x0800,
    cluster(
      "Key Establishment",
      { 0x00: "initiate", 0x01: "ephemeral data request", 0x02: "confirm key" },
      {
        0x00: "initiate response",
        0x01: "ephemeral data response",
        0x02: "confirm key response",
        0x03: "terminate",
      },
    ),
  ],
  [0x0b04, cluster("Electrical Measurement")],
  [0x1000, cluster("Touchlink Commissioning")],
]);
