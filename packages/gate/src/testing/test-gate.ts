import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Clock } from "@postern/core/clock";
import { silentLog, type Log } from "@postern/core/log";
import { deriveKnockSecret, hintEpoch, knockKeys } from "@postern/knock/spa1/keys";
import { sealPacket, type Spa1Request } from "@postern/knock/spa1/packet";
import { Spa1Verifier } from "@postern/knock/spa1/verifier";
import { randomBytes } from "node:crypto";

import { AcceptedMemory } from "../accepted-memory.ts";
import { BanList } from "../ban-list.ts";
import { Gate } from "../gate.ts";
import type { LinkDevice } from "../link/messages.ts";
import { defaultBanRule, Sentry, type SentryOptions } from "../sentry.ts";
import { address } from "./firewall-suite.ts";
import { MemoryFirewall } from "./memory-firewall.ts";

export const gateId = "gate-test";
export const master = Buffer.alloc(32, 0x42);
export const servicePort = 8883;

/** A clock that tests set. */
export class HandClock implements Clock {
  nowMs = 1_795_418_364_000;
  readonly #startMs = this.nowMs;

  wallMs(): number {
    return this.nowMs;
  }

  monotonicMs(): number {
    return this.nowMs - this.#startMs;
  }
}

/** A directory that is gone when the test is over. */
export function temporaryDirectory(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), "postern-gate-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

export function linkDevice(name: string, changes: Partial<LinkDevice> = {}): LinkDevice {
  return {
    name,
    tenant: "default",
    keyVersion: 1,
    clockless: false,
    roaming: false,
    services: null,
    addresses: null,
    ...changes,
  };
}

let counter = 0;

/** A valid packet of the device, unless the changes say otherwise. */
export function knockOf(device: string, nowMs: number, changes: Partial<Spa1Request> = {}): Buffer {
  counter += 1;
  const request: Spa1Request = {
    action: "open",
    clockless: false,
    timestampMs: nowMs,
    counter: nowMs + counter,
    address: address("10.9.0.2"),
    sourcePort: 0,
    serviceId: 1,
    windowSeconds: 0,
    certBind: undefined,
    ...changes,
  };
  const keys = knockKeys(deriveKnockSecret(master, { tenant: "default", device, keyVersion: 1 }));
  return sealPacket(request, { keys, gateId, epoch: hintEpoch(nowMs), nonce: randomBytes(12) });
}

export interface TestGate extends AsyncDisposable {
  readonly gate: Gate;
  readonly spa1: Spa1Verifier;
  readonly firewall: MemoryFirewall;
  readonly socket: string;
  /** Has the gate judge a packet from this address. */
  knock(packet: Uint8Array, from?: string): void;
}

export interface TestGateOptions {
  readonly directory: string;
  readonly clock: Clock;
  readonly log?: Log;
  readonly isNew?: boolean;
  /** Names the time since the machine was started. */
  readonly boot?: string;
  readonly rule?: Partial<SentryOptions>;
}

/** A gate with its files in the directory, and a firewall in memory. */
export async function testGate({ directory, clock, ...options }: TestGateOptions): Promise<TestGate> {
  const { log = silentLog, isNew = true, boot = "boot", rule = {} } = options;
  const nowMs = () => clock.wallMs();
  const firewall = new MemoryFirewall({ clock });
  const memory = new AcceptedMemory(join(directory, "accepted-knocks"), { isNew, nowMs, boot });
  const sentry = new Sentry({ ...defaultBanRule, strict: false, ...rule });
  const bans = new BanList({ path: join(directory, "bans"), sentry, firewall, log });
  bans.restore(nowMs());
  const spa1 = new Spa1Verifier(
    {
      gateId,
      counters: memory,
      services: new Map([[1, [servicePort]]]),
      countersLostAtMs: memory.lostAtMs,
      windowSecondsDefault: 10,
      windowSecondsMax: 60,
      disguisedPerSecondMax: 1_000,
    },
    nowMs(),
  );
  const gate = new Gate({ clock, log, firewall, memory, bans, spa1, master });
  const socket = join(directory, "gate.sock");
  await gate.listen(socket);
  return {
    gate,
    spa1,
    firewall,
    socket,
    knock: (packet, from = "10.9.0.2") => gate.knock(packet, { address: address(from), port: 40_000 }, spa1),
    [Symbol.asyncDispose]: () => gate[Symbol.asyncDispose](),
  };
}

/** Waits until it is so. */
export async function until(what: () => boolean | Promise<boolean>, waitMs = 3_000): Promise<void> {
  const end = performance.now() + waitMs;
  while (!(await what())) {
    if (performance.now() > end) throw new Error(`not so within ${waitMs} ms: ${what.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
