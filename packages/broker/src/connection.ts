import { encodeAck, writeAck } from "@postern/mqtt/acks";
import { encodeConnack } from "@postern/mqtt/connack";
import { encodeAuth, encodeDisconnect, pingrespBytes } from "@postern/mqtt/control";
import type { Frame } from "@postern/mqtt/frame";
import { noProperties, PacketType, type ProtocolVersion, type Properties } from "@postern/mqtt/packets";
import { ReasonCode, reasonCodeAllowed, reasonCodeName } from "@postern/mqtt/reason-codes";

import { ChecksThrottle } from "./checks-throttle.ts";
import { ClientWatch } from "./client-watch.ts";
import type { Writer } from "./commit-line.ts";
import type { Core } from "./core.ts";
import type { Delivery } from "./delivery.ts";
import { Inbound, type Next, type PacketReader } from "./inbound.ts";
import { InboundThrottle } from "./inbound-throttle.ts";
import type { Limits } from "./limits.ts";
import type { Admitted } from "./listeners/admission.ts";
import { Outbound } from "./outbound.ts";
import { handlePacket } from "./packet-handlers.ts";
import type { PacketMemory } from "./packet-memory.ts";
import { PauseReason } from "./pause-reason.ts";
import type { Accepted, AuthenticationExchange, Identity, Peer } from "./ports.ts";
import { PublishWriter } from "./publish-writer.ts";
import type { Session } from "./session.ts";
import type { TopicEntry } from "./topic-cache.ts";
import type { Transport, TransportHandler } from "./transport.ts";

/** With more than this on its way to the client, QoS 1 and 2 messages wait in the session. */
const roomBytesMax = 1_048_576;
/** What a connection may still buffer while the broker as a whole is over its output limit. */
const fairBytesMax = 262_144;

/** How long a peer may take to read what was sent before the end, and how long one that is cut off. */
const lingerMs = 2_000;
const cutLingerMs = 300;

/** Where a connection stands. `closing`: what is left to send goes out, nothing is read any more. */
export type ConnectionState = "connecting" | "authenticating" | "connected" | "closing";

/** One client's network connection, from the first byte to the last. */
export class Connection implements TransportHandler, PacketReader, Writer {
  readonly core: Core;
  readonly peer: Peer;
  readonly limits: Limits;
  readonly #transport: Transport;
  readonly #admitted: Pick<Admitted, "proven">;
  readonly #inbound: Inbound;
  readonly #outbound: Outbound;
  /** Puts messages into the form this client takes. */
  readonly writer: PublishWriter;
  /** How long the client may say nothing, and be believed who it is. */
  readonly watch: ClientWatch;
  #throttle: InboundThrottle | undefined = undefined;
  /** What was done with public keys for this client; there is one only where topics demand signatures. */
  #checks: ChecksThrottle | undefined = undefined;
  state: ConnectionState = "connecting";
  /** 5 until CONNECT says otherwise. */
  version: ProtocolVersion = 5;
  clientId = "";
  identity: Identity | undefined = undefined;
  session: Session | undefined = undefined;
  /** The method of the enhanced authentication that CONNECT asked for, and its exchange while one runs. */
  authenticationMethod: string | undefined = undefined;
  exchange: AuthenticationExchange | undefined = undefined;
  /** Opens the session once the exchange that CONNECT started has succeeded. */
  pendingConnect: ((accepted: Accepted, data: Uint8Array | undefined) => Next) | undefined = undefined;
  /** Reason strings and user properties are wanted in any packet. @see MQTT 5.0 §3.1.2.11.7 */
  problemInformation = true;
  /** The most QoS 1 and 2 messages in flight to the client. */
  sendMaximum = 65_535;
  /** By alias, as set by the client. */
  aliasesIn: Map<number, TopicEntry> | undefined = undefined;
  /** The topic of the last PUBLISH: most clients repeat themselves. */
  lastTopic: TopicEntry | undefined = undefined;
  /** The topic that `#rights` are about; `undefined` when they are not known. */
  #rightsTopic: TopicEntry | undefined = undefined;
  #rights = 0;
  #connectedAtMs = 0;
  #ended = false;
  #pauses = 0;

  constructor(
    core: Core,
    transport: Transport,
    peer: Peer,
    limits: Limits,
    admitted: Pick<Admitted, "proven">,
  ) {
    this.core = core;
    this.peer = peer;
    this.limits = limits;
    this.#transport = transport;
    this.#admitted = admitted;
    this.#inbound = new Inbound(this);
    this.#outbound = new Outbound(core.outboundShared, transport, () => this.#onDrain());
    this.writer = new PublishWriter(this.#outbound, core, limits.topicAliasOutboundMaximum);
    const nowMs = core.context.ports.clock.monotonicMs();
    this.watch = new ClientWatch(core.context, nowMs, () => this.#onTimer());
    if (
      limits.bytesPerSecondPerClientMax > 0 ||
      limits.messagesPerSecondPerClientMax > 0 ||
      core.throttlesAll
    )
      this.#throttle = new InboundThrottle(core.context, limits, nowMs);
    this.watch.lookIn(limits.connectTimeoutSeconds * 1_000);
  }

  get connectedAtMs(): number {
    return this.#connectedAtMs;
  }

  // ── from the transport ────────────────────────────────────────────────────────────────────────

  onData(bytes: Buffer): void {
    const { context } = this.core;
    context.readClock();
    context.stats.bytesReceived += bytes.length;
    if (this.state === "closing") return;
    const appendsBefore = context.line.appends;
    this.#inbound.take(bytes);
    this.#holdBack(appendsBefore);
    if (this.#throttle !== undefined) this.#throttle.slowDown(this, bytes.length);
  }

  onEnd(): void {
    // What is held for a commit is still sent; the client may have closed only its own direction.
    this.#outbound.end(lingerMs);
  }

  onClose(): void {
    this.core.context.readClock();
    this.#inbound.stop();
    this.#outbound.close();
    this.#end(true);
    this.core.closed(this);
  }

  get awaitsConnect(): boolean {
    return this.state === "connecting";
  }

  get packetBytesMax(): number {
    return this.state === "connecting" ? this.limits.connectBytesMax : this.limits.packetBytesMax;
  }

  /** Behind the packet that is being handled, where it is large. */
  get packetMemory(): PacketMemory | undefined {
    return this.#inbound.memory;
  }

  onPacket(bytes: Buffer, frame: Frame): Next {
    const { context } = this.core;
    context.stats.packetsReceived += 1;
    // Keep alive asks for packets; bytes alone do not count. @see MQTT 5.0 [MQTT-3.1.2-22]
    this.watch.lastReceivedMs = context.monotonicMs;
    const next = handlePacket(this, bytes, frame);
    // What came with it, in the same read, may be too much.
    if (this.#throttle !== undefined) this.#throttle.slowDown(this, 0);
    return next;
  }

  onUnreadable(result: "malformed" | "tooLarge" | "tooMuch"): void {
    switch (result) {
      case "tooLarge":
        this.fail(ReasonCode.packetTooLarge, `packet above ${this.packetBytesMax} bytes`);
        break;
      case "tooMuch":
        this.fail(ReasonCode.serverBusy, "unfinished packets fill the server (inboundBytesTotalMax)");
        break;
      case "malformed":
        this.fail(ReasonCode.malformedPacket, "malformed remaining length or packet type");
        break;
    }
  }

  /** What a transport gathers counts like a packet that is not complete. */
  onGathered(bytesMore: number): void {
    if (!this.onHeld(bytesMore) && this.state !== "closing") this.onUnreadable("tooMuch");
  }

  onHeld(bytesMore: number): boolean {
    const { context } = this.core;
    context.inboundBytes += bytesMore;
    return bytesMore <= 0 || context.inboundBytes <= context.limits.inboundBytesTotalMax;
  }

  // ── to the client ─────────────────────────────────────────────────────────────────────────────

  /** Whether the connection takes more QoS 1 and 2 messages now. */
  get hasRoom(): boolean {
    return this.#outbound.bytes < roomBytesMax && this.state === "connected";
  }

  get isClosing(): boolean {
    return this.state === "closing";
  }

  /** Has this turn's output wait until all that was appended to the store is on disk. */
  hold(): void {
    this.#outbound.hold();
  }

  /** Sends a packet that was encoded for this client's version; one larger than it takes ends the connection. */
  send(packet: Buffer): void {
    if (packet.length > this.writer.packetBytesMax) {
      // Before CONNACK there is nothing shorter to say.
      if (this.state !== "connected") this.close(false);
      else this.disconnect(ReasonCode.packetTooLarge, "an answer would be larger than Maximum Packet Size");
      return;
    }
    this.core.context.stats.packetsSent += 1;
    this.#outbound.append(packet);
  }

  /**
   * Sends the delivery. False, with nothing sent, when it is larger than the client takes; a QoS 0 message to a
   * client that reads too slowly is dropped and counted, and true.
   */
  sendPublish(delivery: Delivery, packetId: number, dup: boolean): boolean {
    const { stats } = this.core.context;
    const { message, qos } = delivery;
    if (this.state !== "connected") return true;
    if (qos === 0 && this.#isChoked()) {
      stats.publishDropped += 1;
      return true;
    }
    if (!this.writer.write(delivery, packetId, dup)) return false;
    stats.packetsSent += 1;
    stats.publishSent += 1;
    stats.publishBytesSent += message.payload.length;
    return true;
  }

  /** PUBACK, PUBREC, PUBREL or PUBCOMP. */
  sendAck(
    type: 4 | 5 | 6 | 7,
    packetId: number,
    reasonCode: number = ReasonCode.success,
    reason?: string,
  ): void {
    this.core.context.stats.packetsSent += 1;
    if (this.version < 5 || reasonCode === ReasonCode.success) {
      const chunk = this.#outbound.reserve(4);
      writeAck(chunk, this.#outbound.length, type, packetId);
      this.#outbound.advance(4);
      return;
    }
    const properties = this.#problem(reason);
    this.#outbound.append(encodeAck(5, type, { packetId, reasonCode, properties }));
  }

  sendPubrel(packetId: number): void {
    this.sendAck(PacketType.pubrel, packetId);
  }

  sendPingresp(): void {
    this.send(pingrespBytes);
  }

  sendAuth(reasonCode: number, properties: Properties): void {
    this.send(encodeAuth(5, { reasonCode, properties }));
  }

  // ── life ──────────────────────────────────────────────────────────────────────────────────────

  /** CONNECT was accepted: keep-alive counts from now. */
  established(session: Session, untilMs: number): void {
    this.session = session;
    this.watch.untilMs = untilMs;
    session.connection = this;
    this.state = "connected";
    this.#admitted.proven();
    this.permissionsChanged();
    if (this.identity !== undefined) this.core.context.ports.doorkeeper?.entered(this.peer, this.identity);
    this.#connectedAtMs = this.core.context.nowMs;
    this.watch.lookIn(this.watch.keepAliveMs);
  }

  /** The client has proved again who it is. */
  provedAgain(untilMs: number): void {
    this.watch.untilMs = untilMs;
    this.watch.lookIn(0);
  }

  /** The client's rights on a topic, as bits of `TopicRight`. */
  rightsOn(entry: TopicEntry): number {
    if (entry === this.#rightsTopic) return this.#rights;
    const rights = this.session?.permissions.rightsOn(entry.text) ?? 0;
    this.#rights = rights;
    this.#rightsTopic = entry;
    return rights;
  }

  /** The session's permissions are others than before. */
  permissionsChanged(): void {
    this.#rightsTopic = undefined;
    const { session } = this;
    if (session === undefined) return;
    const { context } = this.core;
    const shared = context.usages.ratesOf(session.usage, session.permissions.limits, context.monotonicMs);
    if (shared.length > 0) this.#throttle ??= new InboundThrottle(context, this.limits, context.monotonicMs);
    if (this.#throttle !== undefined) this.#throttle.shared = shared;
  }

  /** Resolves when all that the client has sent by now was looked at; `undefined` when it always is. */
  heardAll(): Promise<void> | undefined {
    return this.core.heardAll(this.#transport);
  }

  /** Reads nothing more until `resume` is called with the same reason. */
  pause(reason: PauseReason): void {
    this.#pauses |= reason;
    this.#inbound.pause();
    this.#transport.pause();
  }

  resume(reason: PauseReason): void {
    this.#pauses &= ~reason;
    if (this.#pauses !== 0 || this.state === "closing") return;
    this.core.context.readClock();
    if (reason !== PauseReason.output) this.watch.lastReceivedMs = this.core.context.monotonicMs;
    const appendsBefore = this.core.context.line.appends;
    this.#inbound.resume();
    this.#holdBack(appendsBefore);
    // What had come meanwhile may have brought a new pause.
    if (this.#pauses === 0) this.#transport.resume();
  }

  /** Sends what waits in the session, as far as there is room. */
  pump(): void {
    const { session } = this;
    if (session === undefined || this.state !== "connected") return;
    if (session.outbox.waitingCount > 0) session.outbox.pump();
    this.core.context.replays.goOn(session);
  }

  /**
   * The client broke the protocol or a limit: MQTT 5 clients are told why, then the connection is closed.
   * Before CONNECT was understood nobody is told anything.
   */
  fail(reasonCode: number, reason: string): void {
    const { context } = this.core;
    context.stats.protocolErrors += 1;
    this.core.audit("protocol-error", this, `${reasonCodeName(reasonCode)}: ${reason}`);
    this.disconnect(reasonCode, reason);
  }

  /** Ends the connection from the server's side. @see MQTT 5.0 §3.14 */
  disconnect(reasonCode: number, reason: string, properties: Properties = noProperties): void {
    if (this.state === "closing") return;
    this.#tellDisconnect(reasonCode, reason, properties);
    this.close(true);
  }

  #tellDisconnect(reasonCode: number, reason: string, properties: Properties): void {
    if (this.version === 5 && this.state === "connected") {
      this.#tell(
        encodeDisconnect(5, { reasonCode, properties: { ...properties, ...this.#problem(reason) } }),
        () => encodeDisconnect(5, { reasonCode, properties: noProperties }),
      );
    } else if (this.state === "authenticating" && reasonCodeAllowed(PacketType.connack, reasonCode)) {
      // Before CONNACK nothing else may say it. @see MQTT 5.0 [MQTT-3.2.0-1]
      this.send(encodeConnack(this.version, { sessionPresent: false, reasonCode, properties: noProperties }));
    }
  }

  /** Sends what is left, then closes; `lost` says that the client's will is due. */
  close(lost: boolean): void {
    this.#close(lost, lingerMs);
  }

  /** The client has taken its leave; `lost` says that it wants its will published all the same. */
  leave(lost: boolean): void {
    this.#close(lost, 0);
  }

  /**
   * Ends the connection of somebody who may receive nothing more: what waits to be sent is dropped, and there is little time to
   * read the DISCONNECT. Its will is not published.
   */
  cut(reasonCode: number, reason: string): void {
    if (this.state === "closing") return;
    this.#outbound.drop();
    this.core.wills.cancel(this.clientId);
    this.#tellDisconnect(reasonCode, reason, noProperties);
    this.#close(true, cutLingerMs);
  }

  #close(lost: boolean, peerMs: number): void {
    if (this.state === "closing") return;
    this.state = "closing";
    this.#inbound.stop();
    this.#end(lost);
    this.#outbound.end(peerMs);
    this.#transport.resume();
  }

  /** Another connection of the same identity opened the session. @see MQTT 5.0 [MQTT-3.1.4-3] */
  takenOver(): void {
    this.core.context.stats.sessionsTakenOver += 1;
    this.core.audit("taken-over", this, "another connection opened the session");
    this.disconnect(ReasonCode.sessionTakenOver, "another connection opened the session");
  }

  // ── inside ────────────────────────────────────────────────────────────────────────────────────

  /** The connection no longer speaks for its session. */
  #end(lost: boolean): void {
    if (this.#ended) return;
    this.#ended = true;
    this.state = "closing";
    const { context, sessions } = this.core;
    this.watch.close();
    this.#throttle?.close();
    this.#checks?.pause.close();
    const { session, identity } = this;
    if (session !== undefined && identity !== undefined) context.ports.doorkeeper?.left(this.peer, identity);
    if (session === undefined || session.connection !== this) return;
    sessions.detach(session, lost);
  }

  #onTimer(): void {
    const { context } = this.core;
    context.readClock();
    if (this.state === "connecting" || this.state === "authenticating") {
      this.core.audit("limit-reached", this, "no CONNECT within connectTimeoutSeconds");
      this.close(false);
      return;
    }
    // Silence counts against the client only while it is listened to, or when it is the one that does not read.
    const excused = (this.#pauses & ~PauseReason.output) !== 0;
    switch (this.watch.look(excused)) {
      case "proofEnded":
        this.core.audit("proof-ended", this, new Date(this.watch.untilMs).toISOString());
        this.disconnect(ReasonCode.notAuthorized, "the proof of who the client is has ended");
        break;
      case "silent":
        this.disconnect(ReasonCode.keepAliveTimeout, "nothing came for one and a half times the keep alive");
        break;
      case undefined:
        break;
    }
  }

  #onDrain(): void {
    if ((this.#pauses & PauseReason.output) !== 0 && !this.#isChoked()) this.resume(PauseReason.output);
    this.pump();
  }

  /** Reads no more from a client that does not read its answers, or that has more written than the disk takes. */
  #holdBack(appendsBefore: number): void {
    if (this.isClosing) return;
    if (this.#isChoked()) this.pause(PauseReason.output);
    const { line } = this.core.context;
    if (!line.isBehind || line.appends === appendsBefore) return;
    this.pause(PauseReason.disk);
    line.stop(this);
  }

  /** The disk has caught up. */
  goOn(): void {
    this.resume(PauseReason.disk);
  }

  /** Counts one PUBLISH against the message rates. */
  countMessage(): void {
    this.#throttle?.countMessage();
  }

  /** Counts checks of signatures; reads nothing for a while after too many of them. */
  countChecks(checks: number): void {
    this.#checks ??= new ChecksThrottle(this.core.context, this.limits);
    const waitMs = this.#checks.take(checks);
    if (this.state === "connected") this.#checks.pause.begin(this, waitMs);
  }

  #isChoked(): boolean {
    const { bytes } = this.#outbound;
    if (bytes > this.limits.outboundBytesMax) return true;
    const { outboundShared, context } = this.core;
    return outboundShared.outboundBytes > context.limits.outboundBytesTotalMax && bytes > fairBytesMax;
  }

  /** Sends the last packet, in its short form when the client would not take the long one. */
  #tell(packet: Buffer, short: () => Buffer): void {
    this.core.context.stats.packetsSent += 1;
    const { packetBytesMax } = this.writer;
    const fitting = packet.length <= packetBytesMax ? packet : short();
    if (fitting.length <= packetBytesMax) this.#outbound.append(fitting);
  }

  #problem(reason: string | undefined): Properties {
    return reason === undefined || !this.problemInformation ? noProperties : { reasonString: reason };
  }
}
