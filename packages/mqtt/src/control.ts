import { createCursor, fail, finish, readByte } from "./cursor.ts";
import { type Decoded, malformed, type Malformed, protocolError } from "./malformed.ts";
import { noProperties, PacketType, type ProtocolVersion, type ReasonPacket } from "./packets.ts";
import { createPacketWriter, finishPacket, writeByte } from "./packet-writer.ts";
import { readProperties, writeProperties } from "./properties.ts";
import { ReasonCode, reasonCodeAllowed } from "./reason-codes.ts";

/** A whole PINGREQ, the same in every version. @see MQTT 5.0 §3.12 */
export const pingreqBytes: Buffer = Buffer.of(PacketType.pingreq << 4, 0);

/** A whole PINGRESP, the same in every version. @see MQTT 5.0 §3.13 */
export const pingrespBytes: Buffer = Buffer.of(PacketType.pingresp << 4, 0);

/** What is wrong with the body of a PINGREQ or PINGRESP, which is to have none. @see MQTT 5.0 §3.12.2, §3.13.2 */
export function checkPing(start: number, end: number): Malformed | undefined {
  return start === end ? undefined : malformed("a PINGREQ or PINGRESP has a body (MQTT 5.0 §3.12, §3.13)");
}

/** DISCONNECT with success and AUTH with success, as their empty bodies say. */
const successWithoutProperties: ReasonPacket = { reasonCode: ReasonCode.success, properties: noProperties };

/** Decodes the body of a DISCONNECT, which is empty in MQTT 3 and may be in MQTT 5. @see MQTT 5.0 §3.14 */
export function decodeDisconnect(
  bytes: Buffer,
  start: number,
  end: number,
  version: ProtocolVersion,
): Decoded<ReasonPacket> {
  const cursor = createCursor(bytes, start, end);
  if (version !== 5 || start === end) return finish(cursor, successWithoutProperties);
  const reasonCode = readByte(cursor, "reason code");
  if (!reasonCodeAllowed(PacketType.disconnect, reasonCode)) {
    fail(cursor, protocolError(`DISCONNECT has reason code ${reasonCode} (MQTT 5.0 §3.14.2.1)`));
  }
  const properties = cursor.offset < end ? readProperties(cursor, PacketType.disconnect) : noProperties;
  return finish(cursor, { reasonCode, properties });
}

/** Encodes a DISCONNECT in the shortest form that says it all; in MQTT 3 it has no body. @see MQTT 5.0 §3.14 */
export function encodeDisconnect(version: ProtocolVersion, packet: ReasonPacket): Buffer {
  const writer = createPacketWriter();
  const hasProperties = Object.keys(packet.properties).length > 0;
  if (version === 5 && (packet.reasonCode !== ReasonCode.success || hasProperties)) {
    writeByte(writer, packet.reasonCode, "reason code");
    if (hasProperties) writeProperties(writer, packet.properties, PacketType.disconnect);
  }
  return finishPacket(PacketType.disconnect, 0, writer);
}

/**
 * Decodes the body of an AUTH, which exists in MQTT 5 only. An empty body says success without properties; whether a
 * method had to be named then is for the caller, who knows the exchange. Any other must name its method.
 * @see MQTT 5.0 §3.15
 */
export function decodeAuth(
  bytes: Buffer,
  start: number,
  end: number,
  version: ProtocolVersion,
): Decoded<ReasonPacket> {
  if (version !== 5) return malformed("packet type 15 is reserved before MQTT 5 (MQTT 3.1.1 §2.2.1)");
  const cursor = createCursor(bytes, start, end);
  if (start === end) return finish(cursor, successWithoutProperties);
  const reasonCode = readByte(cursor, "reason code");
  if (!reasonCodeAllowed(PacketType.auth, reasonCode)) {
    fail(cursor, protocolError(`AUTH has reason code ${reasonCode} (MQTT 5.0 §3.15.2.1)`));
  }
  const properties = readProperties(cursor, PacketType.auth);
  if (properties.authenticationMethod === undefined) {
    fail(cursor, protocolError("AUTH has no Authentication Method (MQTT 5.0 §3.15.2.2.2)"));
  }
  return finish(cursor, { reasonCode, properties });
}

/** Encodes an AUTH. Throws `TypeError` before MQTT 5, which has none. @see MQTT 5.0 §3.15 */
export function encodeAuth(version: ProtocolVersion, packet: ReasonPacket): Buffer {
  if (version !== 5) throw new TypeError("AUTH exists in MQTT 5 only");
  const writer = createPacketWriter();
  if (packet.reasonCode !== ReasonCode.success || Object.keys(packet.properties).length > 0) {
    writeByte(writer, packet.reasonCode, "reason code");
    writeProperties(writer, packet.properties, PacketType.auth);
  }
  return finishPacket(PacketType.auth, 0, writer);
}
