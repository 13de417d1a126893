import { isIP } from "node:net";

import { parseIpAddress } from "@postern/knock/ip-address";

/** A port for knock packets. */
export type KnockPort = {
  readonly transport: "udp" | "tcp";
  readonly port: number;
  /** Lengths of a UDP payload that reach the verifier; all else is dropped in the kernel. */
  readonly payloadBytes?: { readonly min: number; readonly max: number };
};

/** What the kernel is to hide and to let through. Rates are packets a second. */
export type GuardPlan = {
  /** TCP ports that answer only where a window is open. All other ports of the machine are left alone. */
  readonly hiddenPorts: readonly number[];
  readonly knockPorts: readonly KnockPort[];
  /** Connections to the hidden ports that one source may have at once; a source is an IPv4 address or an IPv6 /64. */
  readonly connectionsPerSourceMax: number;
  /** Knock packets without a known hint that one source may send. */
  readonly knocksPerSourcePerSecondMax: number;
  /** Knock packets without a known hint that all sources together may send to one port. */
  readonly knocksPerSecondMax: number;
  /** Knock packets with one and the same known hint. */
  readonly knocksPerHintPerSecondMax: number;
  /** Whether programs of this machine reach the hidden ports without a window. */
  readonly loopbackIsOpen: boolean;
  /** Whether a banned source's knock packets are dropped too. Otherwise they arrive, and a valid one opens. */
  readonly bansStopKnocks: boolean;
  /** Only these addresses and prefixes (`10.0.0.0/8`) may knock at all; absent: everybody. */
  readonly registeredSources?: readonly string[];
};

export const defaultGuardPlan = {
  connectionsPerSourceMax: 64,
  knocksPerSourcePerSecondMax: 200,
  knocksPerSecondMax: 2_000,
  knocksPerHintPerSecondMax: 20,
  loopbackIsOpen: true,
  bansStopKnocks: false,
} as const satisfies Omit<GuardPlan, "hiddenPorts" | "knockPorts">;

/** Ports of one plan, hidden and for knocks together. */
const portsMax = 64;
/** Registered prefixes; each is a rule that every knock packet passes. Single addresses are in a set and may be as many as are windows. */
const prefixesMax = 256;

/** Throws `RangeError` for a plan that no kernel could keep. */
export function checkPlan(plan: GuardPlan): void {
  const { hiddenPorts, knockPorts, registeredSources = [] } = plan;
  if (hiddenPorts.length + knockPorts.length > portsMax)
    throw new RangeError(`more than ${portsMax} ports to guard`);
  for (const port of [...hiddenPorts, ...knockPorts.map(({ port }) => port)]) {
    if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new RangeError(`no port: ${port}`);
  }
  for (const { payloadBytes } of knockPorts) {
    if (payloadBytes === undefined) continue;
    const { min, max } = payloadBytes;
    if (!(Number.isInteger(min) && Number.isInteger(max) && 0 <= min && min <= max && max <= 65_507)) {
      throw new RangeError(`no lengths of a UDP payload: ${min} to ${max}`);
    }
  }
  for (const name of rates) {
    if (!(Number.isInteger(plan[name]) && plan[name] > 0 && plan[name] <= 1_000_000)) {
      throw new RangeError(`${name} is ${plan[name]}, not 1 to 1,000,000`);
    }
  }
  const { prefixes } = registered(registeredSources);
  if (prefixes.length > prefixesMax) throw new RangeError(`more than ${prefixesMax} registered prefixes`);
}

const rates = [
  "connectionsPerSourceMax",
  "knocksPerSourcePerSecondMax",
  "knocksPerSecondMax",
  "knocksPerHintPerSecondMax",
] as const;

/** Registered sources by what the kernel does with them. Throws `RangeError` for what is neither address nor prefix. */
export function registered(sources: readonly string[]): {
  readonly addresses: readonly string[];
  readonly prefixes: readonly string[];
} {
  const addresses = new Set<string>();
  const prefixes = new Set<string>();
  for (const source of sources) {
    const [address = "", length, ...rest] = source.split("/");
    const family = isIP(address);
    const isPrefix = length !== undefined && rest.length === 0 && /^\d{1,3}$/.test(length);
    if (family === 0 || address.includes("%") || (length !== undefined && !isPrefix)) {
      throw new RangeError(`${source} is no address and no prefix such as 10.0.0.0/8`);
    }
    const bits = family === 4 ? 32 : 128;
    if (Number(length ?? bits) > bits) throw new RangeError(`${source} has a prefix longer than its address`);
    // An IPv4 address that IPv6 maps is the IPv4 address: packets come with that.
    if (Number(length ?? bits) === bits) addresses.add(parseIpAddress(address) ?? address);
    else prefixes.add(source);
  }
  return { addresses: [...addresses], prefixes: [...prefixes] };
}
