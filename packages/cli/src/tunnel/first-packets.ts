import { decodeConnack } from "@postern/mqtt/connack";
import { decodeConnect, encodeConnect } from "@postern/mqtt/connect";
import { createFrame, FrameResult, readFrame } from "@postern/mqtt/frame";
import { addressProperty } from "@postern/mqtt/own-properties";
import { PacketType, type ProtocolVersion } from "@postern/mqtt/packets";

/** A CONNECT that is larger passes as it is. */
const connectBytesMax = 1_048_576;

/** What a bundle has that a program may give in CONNECT. */
export interface ConnectCredentials {
  readonly username: string;
  readonly password: Uint8Array;
}

/** The first bytes of a program, when there are enough of them. */
export type FirstBytes =
  | { readonly kind: "incomplete" }
  | {
      readonly kind: "ready";
      readonly bytes: Buffer;
      /** `undefined` when it is no CONNECT that we understand: the server is to say what it thinks of it. */
      readonly version: ProtocolVersion | undefined;
    };

/**
 * Puts user name and password into the CONNECT at the beginning of what a program sends, where it gives neither and asks for no other way
 * to authenticate. All else passes as it is.
 */
export function withCredentials(bytes: Buffer, credentials: ConnectCredentials | undefined): FirstBytes {
  const frame = createFrame();
  const result = readFrame(bytes, 0, bytes.length, connectBytesMax, frame);
  if (result === FrameResult.incomplete && (frame.type === PacketType.connect || bytes.length === 0))
    return { kind: "incomplete" };
  const isConnect = result === FrameResult.complete && frame.type === PacketType.connect;
  const decoded = isConnect ? decodeConnect(bytes, frame.bodyStart, frame.bodyEnd) : undefined;
  if (decoded?.kind !== "value") return { kind: "ready", bytes, version: undefined };
  const packet = decoded.value;
  const version = packet.protocolVersion;
  const gives = packet.username ?? packet.password ?? packet.properties.authenticationMethod;
  if (credentials === undefined || gives !== undefined) return { kind: "ready", bytes, version };
  const connect = encodeConnect({ ...packet, ...credentials });
  return { kind: "ready", bytes: Buffer.concat([connect, bytes.subarray(frame.bodyEnd)]), version };
}

/** The address that a server says it sees, in the CONNACK that begins what it sends; `undefined` when it says none. */
export function addressTold(bytes: Buffer): string | undefined {
  const frame = createFrame();
  const result = readFrame(bytes, 0, bytes.length, connectBytesMax, frame);
  if (result !== FrameResult.complete || frame.type !== PacketType.connack) return undefined;
  const decoded = decodeConnack(bytes, frame.bodyStart, frame.bodyEnd, 5);
  if (decoded.kind !== "value") return undefined;
  return decoded.value.properties.userProperties?.find(([name]) => name === addressProperty)?.[1];
}
