import type { Broker } from "@postern/broker/broker";
import type { RunningListener } from "@postern/broker/listeners/listener";
import { systemClock, type Clock } from "@postern/core/clock";
import { refusalOfDevice, type Device } from "@postern/identity/device";
import { DeviceManager, type DeviceManagerOptions } from "@postern/identity/devices/manager";
import type { DeviceChange, DeviceRegistry } from "@postern/identity/registry";
import { ReasonCode } from "@postern/mqtt/reason-codes";

import type { FileAuditLog } from "./audit-log.ts";
import type { Authentication } from "./authentication.ts";
import type { Certificates } from "./certificates.ts";

/** How often it is looked for certificates and tokens whose overlap is over. */
const overlapMs = 5_000;

/** At most once in so long new ticket keys are made, however many devices are revoked. */
const ticketKeysMs = 500;

export interface DeviceWatchOptions {
  readonly registry: DeviceRegistry;
  readonly broker: Pick<Broker, "endSessionsOf" | "endConnectionsOf">;
  readonly clock: Clock;
  /** Makes TLS sessions from before worthless. */
  readonly forgetTlsSessions: () => void;
  readonly audit: (device: string, detail: string) => void;
}

/**
 * Has the broker act on what becomes of devices: whoever was revoked or removed is cut off and forgotten; whose credentials were
 * withdrawn has to prove itself again.
 */
export class DeviceWatch implements Disposable {
  readonly #options: DeviceWatchOptions;
  readonly #listening: Disposable;
  readonly #timer: NodeJS.Timeout;
  /** Of certificates that end before their time. */
  readonly #ending = new Ends();
  /** Of tokens that were replaced while connections may stand on them. */
  readonly #endingTokens = new Ends();
  #ticketTimer: NodeJS.Timeout | undefined;

  constructor(options: DeviceWatchOptions) {
    this.#options = options;
    const { registry } = options;
    for (const device of registry.all()) this.#remember(device);
    this.#listening = registry.onChange((changes) => changes.forEach((change) => this.#changed(change)));
    this.#timer = setInterval(() => this.#endOverlaps(), overlapMs).unref();
  }

  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]();
    clearInterval(this.#timer);
    clearTimeout(this.#ticketTimer);
  }

  #changed({ before, after }: DeviceChange): void {
    this.#remember(after);
    const { broker, audit } = this.#options;
    if (before === undefined) {
      // Somebody from outside may be here under this name: what is theirs must not become the device's, nor its rights theirs.
      broker.endSessionsOf(after.name, ReasonCode.administrativeAction);
      audit(after.name, `added with ${rights(after)}`);
      return;
    }
    this.#endingTokens.add(after.name, earlierTokenEndsMs(before, after));
    if (rights(before) !== rights(after)) audit(after.name, `has ${rights(after)} now`);
    if (count(before) < count(after)) audit(after.name, "was given a new credential");
    const refusal = refusalOfDevice(after);
    if (refusal !== undefined) {
      if (refusalOfDevice(before) !== undefined) return;
      const sessions = broker.endSessionsOf(after.name, ReasonCode.administrativeAction);
      this.#forgetTlsSessionsSoon();
      audit(after.name, `${refusal}; sessions ended: ${sessions}`);
    } else if (hasLost(before, after)) {
      const connections = broker.endConnectionsOf(after.name, ReasonCode.administrativeAction);
      this.#forgetTlsSessionsSoon();
      audit(after.name, `a credential was withdrawn; connections ended: ${connections}`);
    }
  }

  #remember({ name, certificates }: Device): void {
    const nowMs = this.#options.clock.wallMs();
    const ends = certificates.flatMap(({ ends: end, revoked }) =>
      end === undefined || revoked !== undefined ? [] : [Date.parse(end)],
    );
    this.#ending.add(
      name,
      ends.filter((endMs) => endMs > nowMs),
    );
  }

  #endOverlaps(): void {
    const { clock, broker } = this.#options;
    const nowMs = clock.wallMs();
    const ended = new Set([...this.#ending.take(nowMs), ...this.#endingTokens.take(nowMs)]);
    // Those with the new certificate or token come back at once, and the others no more.
    for (const name of ended) broker.endConnectionsOf(name, ReasonCode.administrativeAction);
  }

  #forgetTlsSessionsSoon(): void {
    if (this.#ticketTimer !== undefined) return;
    this.#options.forgetTlsSessions();
    this.#ticketTimer = setTimeout(() => {
      this.#ticketTimer = undefined;
      this.#options.forgetTlsSessions();
    }, ticketKeysMs).unref();
  }
}

/** Moments (wall clock, ms) at which something of a device ends. Each stays until it was acted on, whatever becomes of the device. */
class Ends {
  readonly #byName = new Map<string, Set<number>>();

  add(name: string, endsMs: readonly number[]): void {
    if (endsMs.length === 0) return;
    const known = this.#byName.get(name) ?? new Set();
    for (const endMs of endsMs) known.add(endMs);
    this.#byName.set(name, known);
  }

  /** Forgets what is over by now, and says whose it was. */
  take(nowMs: number): string[] {
    const names: string[] = [];
    for (const [name, ends] of this.#byName) {
      const over = [...ends].filter((endMs) => endMs <= nowMs);
      if (over.length === 0) continue;
      names.push(name);
      for (const endMs of over) ends.delete(endMs);
      if (ends.size === 0) this.#byName.delete(name);
    }
    return names;
  }
}

/** When the tokens end whose end came nearer, in ms. */
function earlierTokenEndsMs(before: Device, after: Device): number[] {
  return after.tokens.flatMap(({ jti, notAfter, revoked }) => {
    const former = before.tokens.find((token) => token.jti === jti);
    const isEarlier = former !== undefined && Date.parse(notAfter) < Date.parse(former.notAfter);
    return isEarlier && revoked === undefined ? [Date.parse(notAfter)] : [];
  });
}

function rights({ roles, groups }: Device): string {
  return `roles [${roles.join(", ")}] and groups [${groups.join(", ")}]`;
}

function count({ certificates, tokens, password, psk }: Device): number {
  return certificates.length + tokens.length + (password === undefined ? 0 : 1) + (psk === undefined ? 0 : 1);
}

interface ManagedDevicesOptions extends Pick<
  DeviceManagerOptions,
  "servers" | "est" | "knock" | "brokerKey"
> {
  readonly stack: AsyncDisposableStack;
  readonly broker: Broker;
  readonly certificates: Certificates;
  readonly authentication: Authentication;
  readonly audit: FileAuditLog;
  readonly listeners: readonly Pick<RunningListener, "dropTickets">[];
}

/** Has live sessions follow what becomes of devices. @returns what the admin API changes devices with. */
export function manageDevices(options: ManagedDevicesOptions): DeviceManager {
  const { stack, broker, certificates, authentication, audit, listeners, servers, est, knock, brokerKey } =
    options;
  const { registry } = certificates.installation;
  stack.use(
    new DeviceWatch({
      registry,
      broker,
      clock: systemClock,
      forgetTlsSessions: () => listeners.forEach((listener) => listener.dropTickets()),
      audit: (device, detail) => audit.recordServer("device", `${device}: ${detail}`),
    }),
  );
  return new DeviceManager({
    registry,
    authority: () => certificates.installation.authority,
    servers,
    serverCa: () => certificates.installation.serverCa,
    est,
    knock,
    brokerKey,
    issueToken: (device, life) => authentication.deviceTokens.issue(device, life),
    clock: systemClock,
    serves: true,
  });
}

/** Whether something that `before` could prove itself by is no longer good. */
function hasLost(before: Device, after: Device): boolean {
  const revoked = new Set([
    ...after.certificates
      .filter((entry) => entry.revoked !== undefined)
      .map(({ fingerprint }) => fingerprint),
    ...after.tokens.filter((entry) => entry.revoked !== undefined).map(({ jti }) => jti),
  ]);
  return (
    before.certificates.some((entry) => entry.revoked === undefined && revoked.has(entry.fingerprint)) ||
    before.tokens.some((entry) => entry.revoked === undefined && revoked.has(entry.jti)) ||
    (before.password !== undefined && before.password.hash !== after.password?.hash) ||
    (before.psk !== undefined && before.psk.key !== after.psk?.key)
  );
}
