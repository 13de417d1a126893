/** MQTT packets as the load generator needs them: built once, before the load begins. Independent of the codec under test. */

export type Version = 4 | 5;

function remainingLength(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  do {
    bytes.push((rest & 127) | (rest > 127 ? 128 : 0));
    rest >>= 7;
  } while (rest > 0);
  return Buffer.from(bytes);
}

function packet(first: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([first]), remainingLength(body.length), body]);
}

function twoBytes(value: number): Buffer {
  return Buffer.from([value >> 8, value & 255]);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([twoBytes(bytes.length), bytes]);
}

const none = Buffer.alloc(0);
const noProperties = Buffer.from([0]);

export interface ConnectOptions {
  readonly version: Version;
  readonly clientId: string;
  readonly clean: boolean;
}

/** A session that is not clean lasts an hour in MQTT 5. */
export function connectPacket({ version, clientId, clean }: ConnectOptions): Buffer {
  const keepAliveSeconds = 600;
  const properties = version < 5 ? none : clean ? noProperties : Buffer.from([5, 17, 0, 0, 14, 16]);
  return packet(
    0x10,
    text("MQTT"),
    Buffer.from([version, clean ? 2 : 0]),
    twoBytes(keepAliveSeconds),
    properties,
    text(clientId),
  );
}

/** One SUBSCRIBE for all these filters. */
export function subscribePacket(version: Version, filters: readonly string[], qos: number): Buffer {
  const wanted = filters.flatMap((filter) => [text(filter), Buffer.from([qos])]);
  return packet(0x82, twoBytes(1), version < 5 ? none : noProperties, ...wanted);
}

export const disconnectPacket: Buffer = packet(0xe0);

/** A PUBLISH whose packet identifier and first bytes of payload are filled in for each that is sent. */
export interface PublishForm {
  readonly bytes: Buffer;
  /** 0 when there is none. */
  readonly packetIdOffset: number;
  readonly payloadOffset: number;
}

export function publishForm(options: {
  readonly version: Version;
  readonly topic: string;
  readonly qos: number;
  readonly retain?: boolean;
  readonly payload: Buffer;
}): PublishForm {
  const { version, topic, qos, payload, retain = false } = options;
  const head = [text(topic), qos > 0 ? twoBytes(0) : none, version < 5 ? none : noProperties];
  const bytes = packet(0x30 | (qos << 1) | (retain ? 1 : 0), ...head, payload);
  const payloadOffset = bytes.length - payload.length;
  return {
    bytes,
    packetIdOffset: qos > 0 ? payloadOffset - (version < 5 ? 2 : 3) : 0,
    payloadOffset,
  };
}
