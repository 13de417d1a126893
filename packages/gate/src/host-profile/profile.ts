import { formatEndpoint, isPeer, type Endpoint } from "./endpoint.ts";

/**
 * A firewall for the whole machine: nothing comes in and nothing goes out but what is listed, loopback, answers to what was
 * let through, and what IPv6 needs to find its neighbours. The gate's own table judges before it who may reach a listed port.
 */
export type HostProfile = {
  /** `server`: hides its services; `device`: hides itself, and talks to its servers only. */
  readonly kind: "server" | "device";
  readonly in: readonly Endpoint[];
  readonly out: readonly Endpoint[];
};

/** The table of the profile, of the family `inet`; apart from the gate's. */
export const profileTable = "postern_host";

/**
 * The table has room for two sets of rules: those that were confirmed, and others that are tried meanwhile.
 *
 *     arrivals, departures ─┬─ in force: what is tried ──► tried rules
 *                           ├─ in force: confirmed ──────► confirmed rules
 *                           └─ else accept
 */
export const slots = ["a", "b"] as const;
export type Slot = (typeof slots)[number];

/** The set whose elements keep a slot's rules in force: when they time out, the next rule of the base chains decides. */
export function inForceSet(slot: Slot): string {
  return `${slot}_in_force`;
}

/** The set that is not empty while the last rules that were applied are not confirmed. */
export const triedSet = "tried";

export function otherSlot(slot: Slot): Slot {
  return slot === "a" ? "b" : "a";
}

/** Endpoints of a profile, each of them a rule. */
const endpointsMax = 256;

/** Time for which a profile is tried before it must be confirmed. */
const trialSecondsMin = 10;
const trialSecondsMax = 3_600;

const base = `inet ${profileTable}`;

/** Removes the table, whether it is there or not. */
export const removal = `add table ${base}\ndelete table ${base}\n`;

/**
 * The profile as a file for `nft -f`, in force until it is removed, or for a time after which all is let through. Throws `RangeError` for what
 * cannot be.
 */
export function profileRuleset(profile: HostProfile, seconds?: number): string {
  check(profile, seconds);
  const [slot] = slots;
  return [
    `${removal}table ${base} {`,
    `\tset ${inForceSet(slot)} { type nf_proto; flags timeout; elements = ${families(seconds)}; }`,
    ...slotChains(profile, slot),
    ...Object.entries(hooks).flatMap(([chain, hook]) => [
      `\tchain ${chain} {`,
      `\t\ttype filter hook ${hook} priority filter; policy drop;`,
      `\t\tmeta nfproto @${inForceSet(slot)} goto ${slot}_${chain}`,
      `\t\taccept`,
      `\t}`,
    ]),
    `}`,
    ``,
  ].join("\n");
}

/**
 * Commands that put a profile in force for a time, before what the other slot holds. The kernel itself lets go of it, whatever becomes of the
 * processes that asked for it, and what was in force before is so again. Throws `RangeError` for what cannot be.
 */
export function trialCommands(profile: HostProfile, slot: Slot, seconds: number): string {
  check(profile, seconds);
  const all = [slot, otherSlot(slot)];
  return [
    `add table ${base}`,
    ...all.map((each) => `add set ${base} ${inForceSet(each)} { type nf_proto; flags timeout; }`),
    `add set ${base} ${triedSet} { type nf_proto; }`,
    ...Object.entries(hooks).flatMap(([chain, hook]) => [
      all.map((each) => `add chain ${base} ${each}_${chain}`).join("\n"),
      `add chain ${base} ${chain} { type filter hook ${hook} priority filter; policy drop; }`,
      `flush chain ${base} ${chain}`,
      all
        .map((each) => `add rule ${base} ${chain} meta nfproto @${inForceSet(each)} goto ${each}_${chain}`)
        .join("\n"),
      `add rule ${base} ${chain} accept`,
    ]),
    forgetting(slot),
    `table ${base} {`,
    ...slotChains(profile, slot),
    `}`,
    `add element ${base} ${triedSet} { ipv4 }`,
    `add element ${base} ${inForceSet(slot)} ${families(seconds)}`,
    ``,
  ].join("\n");
}

/** Commands that keep what is tried in a slot, and forget the other. The kernel refuses them when the trial is over. */
export function confirmation(slot: Slot): string {
  const set = `${base} ${inForceSet(slot)} { ipv4, ipv6 }`;
  return `delete element ${set}\nadd element ${set}\n${forgetting(otherSlot(slot))}`;
}

/** Commands that forget the rules of a slot. */
export function forgetting(slot: Slot): string {
  return [
    `flush set ${base} ${triedSet}`,
    `flush set ${base} ${inForceSet(slot)}`,
    `flush chain ${base} ${slot}_arrivals`,
    `flush chain ${base} ${slot}_departures`,
  ].join("\n");
}

const hooks = { arrivals: "input", departures: "output" } as const;

function families(seconds: number | undefined): string {
  const time = seconds === undefined ? "" : ` timeout ${seconds}s`;
  return `{ ipv4${time}, ipv6${time} }`;
}

/** What a profile lets through, and drops. */
function slotChains(profile: HostProfile, slot: Slot): string[] {
  const name = profile.kind === "server" ? "postern lockdown" : "postern agent";
  return [
    `\tchain ${slot}_arrivals {`,
    `\t\tiifname "lo" accept comment "${name}"`,
    `\t\tct state established,related accept`,
    `\t\ticmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept`,
    ...profile.in.map((endpoint) => `\t\t${rule(endpoint, "saddr")}`),
    `\t\tdrop`,
    `\t}`,
    `\tchain ${slot}_departures {`,
    `\t\toifname "lo" accept comment "${name}"`,
    `\t\tct state established,related accept`,
    `\t\ticmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, mld2-listener-report } accept`,
    ...profile.out.map((endpoint) => `\t\t${rule(endpoint, "daddr")}`),
    `\t\tdrop`,
    `\t}`,
  ];
}

function rule({ protocol, port, peer, purpose }: Endpoint, side: "saddr" | "daddr"): string {
  const who = peer === undefined ? "" : `${peer.includes(":") ? "ip6" : "ip"} ${side} ${peer} `;
  const why = purpose === undefined ? "" : ` comment "${purpose}"`;
  return `${who}${protocol} dport ${port} accept${why}`;
}

/** All of it becomes text of commands. */
function check(profile: HostProfile, trialSeconds: number | undefined): void {
  const endpoints = [...profile.in, ...profile.out];
  if (endpoints.length > endpointsMax) throw new RangeError(`more than ${endpointsMax} endpoints`);
  for (const endpoint of endpoints) {
    const { port, peer, purpose = "" } = endpoint;
    const isGood =
      Number.isInteger(port) && port >= 1 && port <= 65_535 && (peer === undefined || isPeer(peer));
    if (!isGood || !/^[\w .,:/-]{0,100}$/.test(purpose))
      throw new RangeError(`no endpoint: ${formatEndpoint(endpoint)}`);
  }
  if (trialSeconds === undefined) return;
  if (!Number.isInteger(trialSeconds) || trialSeconds < trialSecondsMin || trialSeconds > trialSecondsMax) {
    throw new RangeError(
      `a trial takes ${trialSecondsMin} to ${trialSecondsMax} seconds, not ${trialSeconds}`,
    );
  }
}
