import { createCursor, readBytes, readUint8, type Stopped } from "../cursor.ts";

/** The command by which a Green Power device says that it wants to be taken in. */
export const greenPowerCommissioning = 0xe0;

/** What a commissioning command says of the device's key. @see Zigbee Green Power (14-0563) §A.4.2.1.1 */
export interface GreenPowerCommissioning {
  readonly deviceId: number;
  /** Its key, if the command has it. */
  readonly key: Uint8Array | undefined;
  readonly isKeyEncrypted: boolean;
  readonly stopped: Stopped | undefined;
}

/** Decodes the payload of a commissioning command, with its identifier. Never throws. */
export function decodeGreenPowerCommissioning(
  bytes: Uint8Array,
  start: number,
  end: number,
): GreenPowerCommissioning {
  const cursor = createCursor(bytes, start, end);
  readUint8(cursor, "command");
  const deviceId = readUint8(cursor, "device id");
  const options = readUint8(cursor, "options");
  const extended = options & 0x80 ? readUint8(cursor, "extended options") : 0;
  const key = extended & 0x20 ? readBytes(cursor, 16, "key") : undefined;
  return {
    deviceId,
    key: key?.length === 16 ? key : undefined,
    isKeyEncrypted: (extended & 0x40) !== 0,
    stopped: cursor.stopped,
  };
}
