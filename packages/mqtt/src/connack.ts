import { createCursor, fail, finish, readByte } from "./cursor.ts";
import { type Decoded, malformed, protocolError } from "./malformed.ts";
import { type ConnackPacket, noProperties, PacketType, type ProtocolVersion } from "./packets.ts";
import { createPacketWriter, finishPacket, writeByte } from "./packet-writer.ts";
import { readProperties, writeProperties } from "./properties.ts";
import { connackReturnCode, reasonCodeAllowed, reasonCodeOfReturnCode } from "./reason-codes.ts";

/** Decodes the body of a CONNACK; an MQTT 3 return code becomes the reason code that means the same. @see MQTT 5.0 §3.2 */
export function decodeConnack(
  bytes: Buffer,
  start: number,
  end: number,
  version: ProtocolVersion,
): Decoded<ConnackPacket> {
  const cursor = createCursor(bytes, start, end);
  const flags = readByte(cursor, "acknowledge flags");
  // MQTT 3.1 has no flags: it does not use this byte.
  if (version !== 3 && flags > 1) {
    fail(cursor, malformed("CONNACK has reserved acknowledge flags set (MQTT 5.0 §3.2.2.1)"));
  }
  const sessionPresent = version !== 3 && flags === 1;
  const code = readByte(cursor, "reason code");
  const reasonCode = version === 5 ? code : (reasonCodeOfReturnCode(code) ?? -1);
  if (!reasonCodeAllowed(PacketType.connack, reasonCode)) {
    fail(cursor, protocolError(`CONNACK has the undefined code ${code} (MQTT 5.0 §3.2.2.2)`));
  }
  if (sessionPresent && code !== 0) {
    fail(cursor, protocolError("CONNACK refuses and has Session Present set (MQTT 5.0 §3.2.2.1.1)"));
  }
  const properties = version === 5 ? readProperties(cursor, PacketType.connack) : noProperties;
  return finish(cursor, { sessionPresent, reasonCode, properties });
}

/** The first byte: CONNACK has no flags. */
const connackByte = PacketType.connack << 4;

/**
 * Encodes a CONNACK. In MQTT 3 the reason code becomes a return code and properties are left out; a CONNACK that
 * refuses, and every one of MQTT 3.1, says that no session is present.
 * @see MQTT 5.0 §3.2 [MQTT-3.2.2-6]
 */
export function encodeConnack(version: ProtocolVersion, packet: ConnackPacket): Buffer {
  const sessionPresent = packet.sessionPresent && packet.reasonCode === 0 && version !== 3;
  if (version !== 5)
    return Buffer.from([connackByte, 2, sessionPresent ? 1 : 0, connackReturnCode(packet.reasonCode)]);
  const writer = createPacketWriter();
  writeByte(writer, sessionPresent ? 1 : 0, "acknowledge flags");
  writeByte(writer, packet.reasonCode, "reason code");
  writeProperties(writer, packet.properties, PacketType.connack);
  return finishPacket(PacketType.connack, 0, writer);
}
