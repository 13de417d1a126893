/** The broker's counters: plain numbers that only grow, read by `$SYS`, metrics and `postern status`. */
export class Stats {
  readonly startedAtMs: number;
  connectionsAccepted = 0;
  connectionsRefused = 0;
  connectRefused = 0;
  bytesReceived = 0;
  bytesSent = 0;
  packetsReceived = 0;
  packetsSent = 0;
  publishReceived = 0;
  publishSent = 0;
  publishBytesReceived = 0;
  publishBytesSent = 0;
  /** QoS 0 messages not passed on because the receiver was too slow. */
  publishDropped = 0;
  /** QoS 1 and 2 messages removed from a full queue. */
  queueDropped = 0;
  messagesExpired = 0;
  publishRefused = 0;
  /** Payloads held to a rule of their topic; of these, those refused, and those sent again and not passed on twice. */
  payloadsChecked = 0;
  payloadsRefused = 0;
  payloadsRepeated = 0;
  /** Of those that were opened, deliveries not made because others could read the connection. */
  payloadsWithheld = 0;
  /** What was done with public keys for that. */
  signaturesChecked = 0;
  subscribeRefused = 0;
  protocolErrors = 0;
  sessionsExpired = 0;
  sessionsTakenOver = 0;
  throttled = 0;
  commits = 0;
  commitFailures = 0;

  constructor(startedAtMs: number) {
    this.startedAtMs = startedAtMs;
  }

  /** The counters as they are now. */
  copy(): Counters {
    return Object.assign(Object.create(null), this);
  }
}

/** The values of all counters at one moment, by name. */
export type Counters = Readonly<Omit<Stats, "copy">>;
