import { X509Certificate } from "node:crypto";
import { networkInterfaces } from "node:os";

import type { Doorkeeper, Identity, Peer } from "@postern/broker/ports";
import { systemClock } from "@postern/core/clock";
import type { Log } from "@postern/core/log";
import { BrokerLink, type LiveConnection } from "@postern/gate/link/broker-link";
import type { FailureKind, LinkDevice } from "@postern/gate/link/messages";
import { refusalOfDevice, type Device } from "@postern/identity/device";
import type { DeviceRegistry } from "@postern/identity/registry";
import { parseIpAddress, type IpAddress } from "@postern/knock/ip-address";
import { certBindOf } from "@postern/knock/spa1/cert-bind";

import type { GateConfiguration } from "../config/gate.ts";
import { Visitors } from "./visitors.ts";

export interface DoorOptions {
  readonly gate: GateConfiguration;
  /** The gate's Unix socket. */
  readonly socket: string;
  readonly registry: DeviceRegistry;
  readonly log: Log;
}

/** The broker's side of the gate: lets in from other machines only who knocked, and tells the gate what it must know. */
export class Door implements Doorkeeper, Disposable {
  /** Who may knock before there is a bundle. */
  readonly visitors: Visitors;
  readonly #link: BrokerLink;
  readonly #registry: DeviceRegistry;
  readonly #stack: DisposableStack;
  /** How many connections each device has from each address. */
  readonly #live = new Map<string, { readonly connection: LiveConnection; count: number }>();

  constructor({ gate, socket, registry, log }: DoorOptions) {
    using stack = new DisposableStack();
    this.#registry = registry;
    const policies = new Map(gate.devices.map((policy) => [policy.name, policy]));
    const told = (device: Device): LinkDevice => {
      const policy = policies.get(device.name);
      return {
        name: device.name,
        tenant: device.tenant,
        keyVersion: device.knockKeyVersion,
        clockless: policy?.clockless ?? false,
        roaming: policy?.roaming ?? gate.roaming,
        services: null,
        addresses: policy?.addresses === undefined ? null : [...policy.addresses],
      };
    };
    this.visitors = stack.use(
      new Visitors({
        came: (visitor) => this.#link.device(visitor),
        left: (name) => this.#link.forget(name),
      }),
    );
    this.#link = stack.use(
      new BrokerLink({
        path: socket,
        source: {
          devices: () => [...[...registry.all()].filter(isInUse).map(told), ...this.visitors.all()],
          connections: () => this.#connections(),
        },
        nowMs: () => systemClock.wallMs(),
        log,
      }),
    );
    stack.use(
      registry.onChange((changes) => {
        for (const { after } of changes) {
          if (isInUse(after)) this.#link.device(told(after));
          else this.#link.forget(after.name);
        }
      }),
    );
    this.#stack = stack.move();
  }

  /** Whether the enrolment server may answer somebody there who shows this certificate, or none: a visitor or this very device knocked. */
  mayEnrol(address: string, certificate: Uint8Array | undefined): boolean {
    if (isOwn(address)) return true;
    const from = parseIpAddress(address);
    if (from === undefined) return false;
    const device = this.#deviceOf({ certificate, pskIdentity: undefined });
    return this.#link.admitsSome(from, (name) => name === device || this.visitors.has(name));
  }

  mayConnect(address: string): boolean {
    const from = parseIpAddress(address);
    return isOwn(address) || (from !== undefined && this.#link.admits(from, undefined, undefined));
  }

  mayEnter(peer: Peer, identity: Identity | undefined): boolean {
    const { address, certificate } = peer;
    if (isOwn(address)) return true;
    const from = parseIpAddress(address);
    const known = identity?.name ?? this.#deviceOf(peer);
    const bind = certificate === undefined ? undefined : certBindOf(certificate);
    // A device with a password or token says who it is only in CONNECT; one that knocked with a certificate must show it in TLS.
    const admitted =
      from !== undefined &&
      (known === undefined ? this.#link.mayBe(from, bind) : this.#link.admits(from, known, bind));
    if (!admitted) this.failed(address, "admission");
    return admitted;
  }

  addressToTell({ address }: Peer): string | undefined {
    return isOwn(address) ? undefined : parseIpAddress(address);
  }

  entered(peer: Peer, identity: Identity): void {
    const connection = connectionOf(peer, identity);
    if (connection === undefined) return;
    const key = `${connection.device}|${connection.address}`;
    const live = this.#live.get(key) ?? { connection, count: 0 };
    live.count += 1;
    this.#live.set(key, live);
    this.#link.connectedDevice(connection);
  }

  left(peer: Peer, identity: Identity): void {
    const connection = connectionOf(peer, identity);
    if (connection === undefined) return;
    const key = `${connection.device}|${connection.address}`;
    const live = this.#live.get(key);
    if (live === undefined) return;
    live.count -= 1;
    if (live.count === 0) this.#live.delete(key);
    this.#link.disconnectedDevice(connection);
  }

  /** Somebody failed to prove who he is. */
  failed(address: string, cause: FailureKind): void {
    const from = parseIpAddress(address);
    // Whoever breaks a permission has proved who he is.
    if (cause !== "permission" && from !== undefined && !isOwn(from)) this.#link.failed(from, cause);
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }

  /** The device that TLS has shown to be there, before it says anything. */
  #deviceOf({ certificate, pskIdentity }: Pick<Peer, "certificate" | "pskIdentity">): string | undefined {
    if (pskIdentity !== undefined) return this.#registry.findByPskIdentity(pskIdentity)?.name;
    if (certificate === undefined) return undefined;
    const { fingerprint256 } = new X509Certificate(certificate);
    return this.#registry.findByFingerprint(fingerprint256)?.device.name;
  }

  *#connections(): IterableIterator<LiveConnection> {
    for (const { connection, count } of this.#live.values()) {
      for (let index = 0; index < count; index++) yield connection;
    }
  }
}

function isInUse(device: Device): boolean {
  return refusalOfDevice(device) === undefined;
}

function connectionOf({ address }: Peer, { name }: Identity): LiveConnection | undefined {
  const from: IpAddress | undefined = parseIpAddress(address);
  return from === undefined || isOwn(from) || name === "" ? undefined : { device: name, address: from };
}

/** How long the machine's addresses are remembered. */
const addressesMs = 5_000;
let ownAddresses: ReadonlySet<string> = new Set();
let ownAddressesAtMs = -Infinity;

/** This machine itself, which the kernel lets in without a window; a Unix socket has no address. */
function isOwn(address: string): boolean {
  if (address === "") return true;
  const parsed = parseIpAddress(address);
  if (parsed === undefined) return false;
  if (parsed === "::1" || parsed.startsWith("127.")) return true;
  const nowMs = systemClock.monotonicMs();
  if (nowMs - ownAddressesAtMs > addressesMs) {
    ownAddressesAtMs = nowMs;
    const all = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
    ownAddresses = new Set(all.map((each) => parseIpAddress(each.address) ?? ""));
  }
  return ownAddresses.has(parsed);
}
