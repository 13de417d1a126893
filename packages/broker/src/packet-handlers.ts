import { decodeAck, successAckPacketId, type AckType } from "@postern/mqtt/acks";
import { checkPing, decodeDisconnect } from "@postern/mqtt/control";
import { fixedHeaderFlagsValid, type Frame } from "@postern/mqtt/frame";
import { PacketType } from "@postern/mqtt/packets";
import { ReasonCode } from "@postern/mqtt/reason-codes";

import { handleAuth, handleConnect } from "./connect-handler.ts";
import type { Connection } from "./connection.ts";
import { Next } from "./inbound.ts";
import type { AckResult } from "./outbox.ts";
import { handlePublish } from "./publish-handler.ts";
import { refuse, valueOrRefuse } from "./refuse.ts";
import { handleSubscribe, handleUnsubscribe } from "./subscribe-handler.ts";

/** Handles one whole packet from a client. @see MQTT 5.0 §3 */
export function handlePacket(connection: Connection, bytes: Buffer, frame: Frame): Next {
  const { type, bodyStart, bodyEnd } = frame;
  if (!fixedHeaderFlagsValid(type, frame.flags, connection.version)) {
    return refuse(connection, ReasonCode.malformedPacket, "fixed header flags are not allowed");
  }
  if (connection.state === "connecting") {
    if (type === PacketType.connect) return handleConnect(connection, bytes, bodyStart, bodyEnd);
    return refuse(connection, ReasonCode.protocolError, `packet type ${type} before CONNECT`);
  }
  if (connection.state === "authenticating" && type !== PacketType.auth && type !== PacketType.disconnect) {
    return refuse(connection, ReasonCode.protocolError, `packet type ${type} during authentication`);
  }
  switch (type) {
    case PacketType.publish:
      return handlePublish(connection, bytes, frame);
    case PacketType.puback:
    case PacketType.pubrec:
    case PacketType.pubrel:
    case PacketType.pubcomp:
      return handleAck(connection, type, bytes, bodyStart, bodyEnd);
    case PacketType.subscribe:
      return handleSubscribe(connection, bytes, bodyStart, bodyEnd);
    case PacketType.unsubscribe:
      return handleUnsubscribe(connection, bytes, bodyStart, bodyEnd);
    case PacketType.pingreq:
      return handlePingreq(connection, bodyStart, bodyEnd);
    case PacketType.disconnect:
      return handleDisconnect(connection, bytes, bodyStart, bodyEnd);
    case PacketType.auth:
      return handleAuth(connection, bytes, bodyStart, bodyEnd);
    case PacketType.connect:
      return refuse(connection, ReasonCode.protocolError, "second CONNECT");
    default:
      return refuse(connection, ReasonCode.protocolError, `packet type ${type} comes from servers only`);
  }
}

function handlePingreq(connection: Connection, start: number, end: number): Next {
  const problem = checkPing(start, end);
  if (problem !== undefined) return refuse(connection, problem.reasonCode, problem.reason);
  connection.sendPingresp();
  return Next.go;
}

function handleAck(connection: Connection, type: AckType, bytes: Buffer, start: number, end: number): Next {
  let packetId = successAckPacketId(bytes, start, end);
  let reasonCode: number = ReasonCode.success;
  if (packetId === 0) {
    const packet = valueOrRefuse(connection, decodeAck(bytes, start, end, type, connection.version));
    if (packet === undefined) return Next.stop;
    ({ packetId, reasonCode } = packet);
  }
  const outbox = connection.session?.outbox;
  if (outbox === undefined) return Next.stop;
  switch (type) {
    case PacketType.puback:
      outbox.puback(packetId);
      break;
    case PacketType.pubrec:
      handlePubrec(
        connection,
        packetId,
        reasonCode < ReasonCode.unspecifiedError ? outbox.pubrec(packetId) : outbox.pubrecRefused(packetId),
        reasonCode,
      );
      break;
    case PacketType.pubrel:
      handlePubrel(connection, packetId);
      break;
    case PacketType.pubcomp:
      outbox.pubcomp(packetId);
      break;
  }
  connection.pump();
  return Next.go;
}

/** @see MQTT 5.0 §3.5, §4.3.3 */
function handlePubrec(connection: Connection, packetId: number, result: AckResult, reasonCode: number): void {
  if (reasonCode >= ReasonCode.unspecifiedError) return;
  if (result === "ok") connection.sendPubrel(packetId);
  else connection.sendAck(PacketType.pubrel, packetId, ReasonCode.packetIdentifierNotFound);
}

/** @see MQTT 5.0 §3.6, §4.3.3 */
function handlePubrel(connection: Connection, packetId: number): void {
  const { session } = connection;
  if (session === undefined) return;
  const known = session.removeInbound(packetId);
  if (known && session.durable) connection.hold();
  connection.sendAck(
    PacketType.pubcomp,
    packetId,
    known ? ReasonCode.success : ReasonCode.packetIdentifierNotFound,
  );
}

/** @see MQTT 5.0 §3.14 */
function handleDisconnect(connection: Connection, bytes: Buffer, start: number, end: number): Next {
  const packet = valueOrRefuse(connection, decodeDisconnect(bytes, start, end, connection.version));
  if (packet === undefined) return Next.stop;
  const { sessionExpiryInterval } = packet.properties;
  const { session } = connection;
  if (session?.permissions.mayPersist === true && sessionExpiryInterval !== undefined) {
    if (session.expirySeconds === 0 && sessionExpiryInterval !== 0) {
      const reason = "DISCONNECT sets a Session Expiry Interval where CONNECT had none";
      return refuse(connection, ReasonCode.protocolError, reason);
    }
    session.expirySeconds = Math.min(sessionExpiryInterval, connection.limits.sessionExpirySecondsMax);
  }
  connection.leave(packet.reasonCode !== ReasonCode.success);
  return Next.stop;
}
