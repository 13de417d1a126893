import { randomBytes } from "node:crypto";

import { encodeConnack } from "@postern/mqtt/connack";
import { decodeConnect } from "@postern/mqtt/connect";
import { decodeAuth } from "@postern/mqtt/control";
import { addressProperty } from "@postern/mqtt/own-properties";
import {
  type ConnectPacket,
  noProperties,
  PacketType,
  type Properties,
  type Will,
} from "@postern/mqtt/packets";
import { encodeForwardedProperties } from "@postern/mqtt/publish";
import { ReasonCode, reasonCodeAllowed, reasonCodeName } from "@postern/mqtt/reason-codes";
import { topicLevelCount } from "@postern/mqtt/topics";

import type { Connection } from "./connection.ts";
import { Next } from "./inbound.ts";
import { PauseReason } from "./pause-reason.ts";
import { checkPayload, payloadRuleOn } from "./payload-check.ts";
import { refuse, valueOrRefuse } from "./refuse.ts";
import { mayAskFor, mayPublishWill } from "./rights.ts";
import type {
  Accepted,
  AuthenticateRequest,
  AuthenticateResult,
  AuthenticationExchange,
  AuthenticationStep,
  Identity,
  PayloadVerdict,
  Permissions,
} from "./ports.ts";
import { neverExpires } from "./session.ts";

/** A CONNECT on its way to CONNACK. */
interface Attempt {
  readonly connection: Connection;
  readonly packet: ConnectPacket;
  /** The client's own, or the one the server gave it. */
  readonly clientId: string;
  readonly assigned: boolean;
}

/** @see MQTT 5.0 §3.1 */
export function handleConnect(connection: Connection, bytes: Buffer, start: number, end: number): Next {
  const decoded = decodeConnect(bytes, start, end);
  if (decoded.kind === "malformed") {
    const { protocolVersion, requestedLevel, reasonCode, reason } = decoded;
    // Whoever speaks a version that we do not is answered as MQTT 3.1.1 demands; MQTT 5 leaves it open.
    const known = protocolVersion ?? (requestedLevel === undefined ? undefined : 4);
    return refuseConnect(connection, known, reasonCode, reason);
  }
  const packet = decoded.value;
  const { context } = connection.core;
  connection.version = packet.protocolVersion;
  connection.writer.version = packet.protocolVersion;
  connection.writer.packetBytesMax = packet.properties.maximumPacketSize ?? Infinity;
  if (context.ports.doorkeeper?.mayEnter(connection.peer, undefined) === false)
    return refuseUninvited(connection, packet.protocolVersion);
  const problem = problemOf(connection, packet);
  if (problem !== undefined)
    return refuseConnect(connection, packet.protocolVersion, problem.reasonCode, problem.reason);
  const assigned = packet.clientId === "";
  const clientId = assigned ? `postern-${randomBytes(12).toString("hex")}` : packet.clientId;
  connection.clientId = clientId;
  connection.problemInformation = packet.properties.requestProblemInformation !== 0;
  const attempt = { connection, packet, clientId, assigned };
  // Whoever takes its leave and comes back at once may be here before its DISCONNECT, where other threads carry connections.
  const heard = context.sessions.get(clientId)?.connection?.heardAll();
  return heard === undefined
    ? authenticate(attempt)
    : whenKnown(connection, heard, () => authenticate(attempt));
}

/** AUTH: the next step of an enhanced authentication, or the start of another. @see MQTT 5.0 §3.15, §4.12 */
export function handleAuth(connection: Connection, bytes: Buffer, start: number, end: number): Next {
  const packet = valueOrRefuse(connection, decodeAuth(bytes, start, end, connection.version));
  if (packet === undefined) return Next.stop;
  const { reasonCode, properties } = packet;
  const method = connection.authenticationMethod;
  if (method === undefined || properties.authenticationMethod !== method)
    return refuse(connection, ReasonCode.protocolError, "AUTH with another method than CONNECT named");
  if (reasonCode === ReasonCode.reAuthenticate && connection.state === "connected") {
    if (!connection.watch.mayReauthenticate())
      return refuse(connection, ReasonCode.messageRateTooHigh, "too many re-authentications");
    const request = requestOf(connection, undefined);
    connection.exchange = connection.core.context.ports.authenticator.exchange(method, request);
  } else if (reasonCode !== ReasonCode.continueAuthentication) {
    return refuse(connection, ReasonCode.protocolError, "AUTH with a reason code that does not fit");
  }
  const { exchange } = connection;
  if (exchange === undefined)
    return refuse(connection, ReasonCode.protocolError, "AUTH while no authentication runs");
  return step(connection, exchange, properties.authenticationData);
}

/** What is wrong with a well-formed CONNECT, as far as it needs no authentication to say. */
function problemOf(
  connection: Connection,
  packet: ConnectPacket,
): { readonly reasonCode: number; readonly reason: string } | undefined {
  const { limits, core } = connection;
  const { will, clientId, properties } = packet;
  if (Buffer.byteLength(clientId) > limits.clientIdBytesMax)
    return { reasonCode: ReasonCode.clientIdentifierNotValid, reason: "the client id is too long" };
  if ((properties.userProperties?.length ?? 0) > limits.userPropertiesMax)
    return { reasonCode: ReasonCode.quotaExceeded, reason: "more user properties than allowed" };
  if (
    will !== undefined &&
    (Buffer.byteLength(will.topic) > limits.topicBytesMax ||
      topicLevelCount(will.topic) > limits.topicLevelsMax)
  )
    return {
      reasonCode: ReasonCode.topicNameInvalid,
      reason: "the will topic is longer or deeper than allowed",
    };
  if (core.context.closing)
    // CONNACK has no word for shutting down. @see MQTT 5.0 §3.2.2.2
    return { reasonCode: ReasonCode.serverUnavailable, reason: "the server is shutting down" };
  if (core.context.line.failure !== undefined)
    return { reasonCode: ReasonCode.serverUnavailable, reason: "the data directory cannot be written" };
  return undefined;
}

function authenticate(attempt: Attempt): Next {
  const { connection, packet } = attempt;
  const { authenticator } = connection.core.context.ports;
  const request = requestOf(connection, packet);
  const method = packet.properties.authenticationMethod;
  if (method !== undefined) {
    const exchange = authenticator.exchange(method, request);
    if (exchange === undefined)
      return refuseConnect(
        connection,
        packet.protocolVersion,
        ReasonCode.badAuthenticationMethod,
        `method ${method}`,
      );
    connection.authenticationMethod = method;
    connection.exchange = exchange;
    connection.state = "authenticating";
    connection.pendingConnect = (accepted, data) => accept(attempt, accepted, data);
    return step(connection, exchange, packet.properties.authenticationData);
  }
  return whenKnown(connection, authenticator.authenticate(request), (result: AuthenticateResult) =>
    result.kind === "accepted"
      ? accept(attempt, result, undefined)
      : refuseConnect(connection, packet.protocolVersion, result.reasonCode, result.reason),
  );
}

/** Goes on with the result: at once when it is there, otherwise with reading paused until it is. */
function whenKnown<T>(connection: Connection, result: T | Promise<T>, then: (result: T) => Next): Next {
  if (!(result instanceof Promise)) return then(result);
  if (connection.state === "connecting") connection.state = "authenticating";
  connection.pause(PauseReason.authentication);
  void goOn(connection, result, then);
  return Next.pause;
}

async function goOn<T>(connection: Connection, result: Promise<T>, then: (result: T) => Next): Promise<void> {
  let known: T;
  try {
    known = await result;
  } catch (error) {
    // An authenticator that fails lets nobody in.
    connection.core.context.ports.log.error({ error }, "The authenticator failed");
    if (!connection.isClosing)
      connection.disconnect(ReasonCode.serverUnavailable, "authentication is not available");
    return;
  }
  if (connection.isClosing) return;
  connection.core.context.readClock();
  if (then(known) === Next.go) connection.resume(PauseReason.authentication);
}

function requestOf(connection: Connection, packet: ConnectPacket | undefined): AuthenticateRequest {
  return {
    peer: connection.peer,
    protocolVersion: connection.version,
    clientId: connection.clientId,
    username: packet?.username,
    password: packet?.password,
  };
}

function step(connection: Connection, exchange: AuthenticationExchange, data: Uint8Array | undefined): Next {
  return whenKnown(connection, exchange.next(data), (next: AuthenticationStep) => stepped(connection, next));
}

function stepped(connection: Connection, next: AuthenticationStep): Next {
  const authenticationMethod = connection.authenticationMethod ?? "";
  switch (next.kind) {
    case "continue":
      connection.sendAuth(ReasonCode.continueAuthentication, authProperties(authenticationMethod, next.data));
      return Next.go;
    case "refused":
      if (connection.session === undefined)
        return refuseConnect(connection, connection.version, next.reasonCode, next.reason);
      return refuseAgain(connection, next.reasonCode, next.reason);
    case "accepted":
      break;
  }
  connection.exchange = undefined;
  const pending = connection.pendingConnect;
  connection.pendingConnect = undefined;
  if (pending !== undefined) return pending(next, next.data);
  if (connection.identity?.name !== next.identity.name)
    return refuse(connection, ReasonCode.notAuthorized, "re-authentication as another identity");
  connection.provedAgain(next.untilMs);
  useAnew(connection, next.identity);
  connection.core.audit("re-authenticated", connection, next.by ?? authenticationMethod);
  connection.sendAuth(ReasonCode.success, authProperties(authenticationMethod, next.data));
  return Next.go;
}

/** The identity is the same, but what a directory outside says of it may have changed. */
function useAnew(connection: Connection, identity: Identity): void {
  const { session, core } = connection;
  connection.identity = identity;
  if (session === undefined) return;
  session.identity = identity;
  session.forgetPermissions();
  core.reauthorization.recheck(session);
}

/** A running connection did not prove again who it is. Some codes of CONNACK cannot be said in DISCONNECT. */
function refuseAgain(connection: Connection, reasonCode: number, reason: string): Next {
  const sayable = reasonCodeAllowed(PacketType.disconnect, reasonCode);
  return refuse(connection, sayable ? reasonCode : ReasonCode.notAuthorized, reason);
}

function authProperties(authenticationMethod: string, data: Uint8Array | undefined): Properties {
  return data === undefined ? { authenticationMethod } : { authenticationMethod, authenticationData: data };
}

/** The client has proved who it is: opens the session and answers. */
function accept(attempt: Attempt, accepted: Accepted, authenticationData: Uint8Array | undefined): Next {
  const { connection, packet, clientId } = attempt;
  const { core, limits, version } = connection;
  const { context } = core;
  const { identity, untilMs, by } = accepted;
  if (context.ports.doorkeeper?.mayEnter(connection.peer, identity) === false)
    return refuseUninvited(connection, version);
  connection.identity = identity;
  const permissions = context.ports.authorizer.permissionsOf({
    identity,
    clientId,
  });
  for (const problem of permissions.problems) core.audit("binding-refused", connection, problem);
  const { will } = packet;
  if (will !== undefined && !mayLeave(permissions, will)) {
    core.audit("publish-refused", connection, `will on ${will.topic}`);
    return refuseConnect(connection, version, ReasonCode.notAuthorized, "the will is not permitted");
  }
  const sealed = will === undefined ? undefined : checkWill(connection, will);
  if (sealed?.kind === "refused") {
    const reasonCode = version < 5 ? ReasonCode.notAuthorized : sealed.reasonCode;
    return refuseConnect(connection, version, reasonCode, `the will is not accepted: ${sealed.reason}`);
  }
  // MQTT 5 clients are told that their session ends with the connection; MQTT 3 has no word for it.
  if (!permissions.mayPersist && version < 5 && !packet.cleanStart)
    return refuseConnect(
      connection,
      version,
      ReasonCode.notAuthorized,
      "a session that outlives its connection is not permitted",
    );
  const expirySeconds = permissions.mayPersist ? expiryOf(connection, packet) : 0;
  applyClientLimits(connection, packet);
  let properties = version < 5 ? noProperties : connackProperties(attempt, expirySeconds, authenticationData);
  const connack = (sessionPresent: boolean): Buffer =>
    encodeConnack(version, { sessionPresent, reasonCode: ReasonCode.success, properties });
  const address = version < 5 ? undefined : context.ports.doorkeeper?.addressToTell(connection.peer);
  if (address !== undefined) {
    const without = properties;
    properties = { ...without, userProperties: [[addressProperty, address]] };
    // @see MQTT 5.0 [MQTT-3.2.2-20]
    if (connack(false).length > connection.writer.packetBytesMax) properties = without;
  }
  const forNewSession = connack(false);
  if (forNewSession.length > connection.writer.packetBytesMax) {
    // There is no shorter way to say it, and nothing else may be said before it. @see MQTT 5.0 [MQTT-3.1.2-24], [MQTT-3.14.0-1]
    core.audit("connect-refused", connection, "CONNACK is larger than the client's Maximum Packet Size");
    connection.close(false);
    return Next.stop;
  }
  const opened = core.sessions.open({
    clientId,
    identity,
    limits,
    protocolVersion: version,
    cleanStart: packet.cleanStart,
    expirySeconds,
    permissions,
  });
  if (opened.kind === "refused") return refuseConnect(connection, version, opened.reasonCode, opened.reason);
  const { session, present } = opened;
  session.permissions = permissions;
  if (present) core.reauthorization.recheck(session);
  if (will !== undefined)
    core.wills.put(session.number, storedWill(connection, will, sealed?.payload ?? will.payload));
  connection.established(session, untilMs);
  // What CONNACK says of the session must be on disk, also when an earlier attempt, whose CONNACK was never sent,
  // forgot the session; and the will. Where nothing waits for the disk this costs nothing.
  connection.hold();
  connection.send(present ? connack(true) : forNewSession);
  const opening = present ? "session resumed" : "new session";
  core.audit("connected", connection, by === undefined ? opening : `${opening}, by ${by}`);
  session.outbox.resume();
  return Next.go;
}

function mayLeave(permissions: Permissions, will: Will): boolean {
  return (
    mayPublishWill(permissions.rightsOn(will.topic), will.qos, will.retain) &&
    mayAskFor(permissions, will.properties.responseTopic)
  );
}

/** Holds a will to the payload rule of its topic: once, at CONNECT. `undefined` where there is none, and for one that only clears. */
function checkWill(
  connection: Connection,
  { topic, payload, retain }: Will,
): Exclude<PayloadVerdict, { readonly kind: "repeated" }> | undefined {
  const { context } = connection.core;
  const rule = payloadRuleOn(context, context.topics.byText(topic));
  if (rule === undefined || (retain && payload.length === 0)) return undefined;
  const verdict = checkPayload(connection, rule, { topic, payload, repeated: false });
  // It cannot be repeated where the client cannot say so.
  return verdict.kind === "repeated" ? undefined : verdict;
}

/** The session expiry interval that is granted. MQTT 3: a session that is not clean lasts as long as any may. */
function expiryOf(connection: Connection, packet: ConnectPacket): number {
  const { sessionExpirySecondsMax } = connection.limits;
  if (packet.protocolVersion < 5) return packet.cleanStart ? 0 : sessionExpirySecondsMax;
  return Math.min(packet.properties.sessionExpiryInterval ?? 0, sessionExpirySecondsMax);
}

function applyClientLimits(connection: Connection, packet: ConnectPacket): void {
  const { limits } = connection;
  const { receiveMaximum, topicAliasMaximum } = packet.properties;
  connection.sendMaximum = Math.min(receiveMaximum ?? 65_535, limits.inflightMessagesMax);
  connection.writer.topicAliasMaximum = topicAliasMaximum ?? 0;
  const wanted = packet.keepAliveSeconds;
  const seconds = wanted === 0 || wanted > limits.keepAliveSecondsMax ? limits.keepAliveSecondsMax : wanted;
  connection.watch.keepAliveMs = seconds * 1_500;
}

/** @see MQTT 5.0 §3.2.2.3 */
function connackProperties(
  { connection, packet, clientId, assigned }: Attempt,
  expirySeconds: number,
  authenticationData: Uint8Array | undefined,
): Properties {
  const { limits, core } = connection;
  const properties: Properties = {
    receiveMaximum: limits.receiveMaximum,
    maximumPacketSize: limits.packetBytesMax,
    topicAliasMaximum: limits.topicAliasMaximum,
  };
  if ((packet.properties.sessionExpiryInterval ?? 0) !== expirySeconds)
    properties.sessionExpiryInterval = expirySeconds;
  if (assigned) properties.assignedClientIdentifier = clientId;
  if (connection.watch.keepAliveMs !== packet.keepAliveSeconds * 1_500)
    properties.serverKeepAlive = connection.watch.keepAliveMs / 1_500;
  const { responseInformation } = core.context.options;
  if (packet.properties.requestResponseInformation === 1 && responseInformation !== undefined)
    properties.responseInformation = responseInformation.replace("${client}", () => clientId);
  if (connection.authenticationMethod !== undefined)
    properties.authenticationMethod = connection.authenticationMethod;
  if (authenticationData !== undefined) properties.authenticationData = authenticationData;
  return properties;
}

function storedWill(connection: Connection, will: Will, payload: Uint8Array) {
  const { nowMs } = connection.core.context;
  const { messageExpiryInterval, willDelayInterval } = will.properties;
  return {
    clientId: connection.clientId,
    retain: will.retain,
    delaySeconds: Math.min(willDelayInterval ?? 0, neverExpires),
    dueAtMs: null,
    message: {
      topic: will.topic,
      payload,
      qos: will.qos,
      properties: encodeForwardedProperties(will.properties),
      publishedAtMs: nowMs,
      expiresAtMs: messageExpiryInterval === undefined ? Infinity : nowMs + messageExpiryInterval * 1_000,
      publisher: connection.identity?.name ?? "",
    },
  };
}

/** Whoever this is, it is not who knocked at the gate from there. */
function refuseUninvited(connection: Connection, version: 3 | 4 | 5): Next {
  return refuseConnect(
    connection,
    version,
    ReasonCode.notAuthorized,
    "this device did not knock from this address",
  );
}

/** What no CONNACK return code says: the connection is closed without one. @see MQTT 3.1.1 [MQTT-3.2.2-6] */
const unspeakableInMqtt3: ReadonlySet<number> = new Set([
  ReasonCode.malformedPacket,
  ReasonCode.protocolError,
  ReasonCode.topicNameInvalid,
]);

/**
 * Answers CONNECT with a refusal, where the client's version is known and has a word for it, and closes.
 * @see MQTT 5.0 §3.2.2.2, MQTT 3.1.1 §3.2.2.3 [MQTT-3.2.2-6]
 */
function refuseConnect(
  connection: Connection,
  version: 3 | 4 | 5 | undefined,
  reasonCode: number,
  reason: string,
): Next {
  const { core } = connection;
  core.context.stats.connectRefused += 1;
  core.audit("connect-refused", connection, `${reasonCodeName(reasonCode)}: ${reason}`);
  if (version === 5 || (version !== undefined && !unspeakableInMqtt3.has(reasonCode)))
    connection.send(encodeConnack(version, { sessionPresent: false, reasonCode, properties: noProperties }));
  connection.close(false);
  return Next.stop;
}
