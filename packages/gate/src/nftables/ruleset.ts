import { isIPv4 } from "node:net";

import { checkPlan, registered, type GuardPlan, type KnockPort } from "../guard-plan.ts";

/** Our table, of the family `inet`. Nothing else of the machine's rules is touched. */
export const tableName = "postern";

/** Windows that may be open at once, for each kind of window. */
export const windowsMax = 65_536;
/** Sources that may be banned at once, for each family. */
export const bansMax = 65_536;
/** Sources whose rate of knock packets is remembered, for each family; one that is not falls under the limit for all. */
const rateSourcesMax = 65_536;
/** Sources whose connections are counted, for each family; beyond it connections in a window are not limited. */
const connectionSourcesMax = 1_048_576;
/** Hints of enrolled devices that the kernel knows: three for each device. */
const hintsMax = 1_048_576;
/** An expired element counts until it is swept, so sets have room for twice as many as may live. */
const roomFactor = 2;

/** The sets that windows and bans stand in, by the family of the source. */
export const sets = {
  windows: { ipv4: "windows4", ipv6: "windows6" },
  exactWindows: { ipv4: "exact_windows4", ipv6: "exact_windows6" },
  bans: { ipv4: "bans4", ipv6: "bans6" },
  hints: "hints",
} as const;

/** What the kernel counts, with what it means. */
export const counters = {
  hidden: "connections to a hidden port that were not answered",
  banned: "connections from banned sources that were not answered",
  capped: "connections beyond what one source may have",
  knocks: "knock packets that reached the verifier",
  knocks_misshapen: "knock packets of a wrong length or with IP options",
  knocks_limited: "knock packets beyond a rate",
  knocks_unregistered: "knock packets from sources that may not knock",
  knocks_banned: "knock packets of banned sources, where a ban stops them",
} as const;
export type Counter = keyof typeof counters;

/** Of an IPv6 address, what names the host: it has all of a /64. */
const prefix6 = "ip6 saddr & ffff:ffff:ffff:ffff::";

/** Matches what comes faster than this, after twice as many at once. */
function burst(perSecond: number): string {
  return `limit rate over ${perSecond}/second burst ${2 * perSecond} packets`;
}

/** An IPv4 header has no options, an IPv6 packet no extension headers: ports and lengths stand where rules look for them. */
const udpHeaderBytes = 8;

/**
 * The commands that put our table in place of any that is there, without its elements. In one transaction: each packet
 * meets the old rules or the new.
 */
export function rulesetCommands(plan: GuardPlan): string {
  checkPlan(plan);
  return [
    `add table inet ${tableName}`,
    `delete table inet ${tableName}`,
    `table inet ${tableName} {`,
    `comment "Hidden ports of Postern. Made by its gate, which repairs changes; postern gate reset removes it."`,
    ...Object.keys(counters).map((name) => `counter ${name} { }`),
    ...setDefinitions(plan),
    ...knockChains(plan),
    ...connectionChains(plan),
    ...silence(plan),
    `}`,
  ].join("\n");
}

/** The commands that take our table away, whether it is there or not. All it hid is then visible. */
export const removalCommands = `add table inet ${tableName}\ndelete table inet ${tableName}`;

function timedSet(name: string, type: string, size: number): string {
  return `set ${name} { ${type}; size ${size}; flags timeout; gc-interval 5s; }`;
}

function countedSet(name: string, type: string, size: number): string {
  return `set ${name} { ${type}; size ${size}; flags dynamic; }`;
}

function ratedSet(name: string, type: string, size: number): string {
  return `set ${name} { ${type}; size ${size}; flags dynamic,timeout; timeout 1m; gc-interval 5s; }`;
}

const addressTypes = [
  ["4", "type ipv4_addr"],
  ["6", "type ipv6_addr"],
] as const;

/** The first 8 bytes of a UDP payload. */
const hintType = "typeof @th,64,64";

function setDefinitions({ registeredSources }: GuardPlan): string[] {
  return [
    ...addressTypes.flatMap(([digit, type]) => [
      timedSet(`windows${digit}`, `${type} . inet_service`, roomFactor * windowsMax),
      timedSet(`exact_windows${digit}`, `${type} . inet_service . inet_service`, roomFactor * windowsMax),
      timedSet(`bans${digit}`, type, roomFactor * bansMax),
      countedSet(`connections${digit}`, type, connectionSourcesMax),
      ratedSet(`rates${digit}`, type, rateSourcesMax),
    ]),
    ...addressTypes.flatMap(([digit, type]) => registeredSet(digit, type, registeredSources)),
    timedSet(sets.hints, hintType, hintsMax),
    ratedSet("hint_rates", hintType, rateSourcesMax),
  ];
}

function registeredSet(digit: "4" | "6", type: string, sources: readonly string[] | undefined): string[] {
  if (sources === undefined) return [];
  const ours = registered(sources).addresses.filter((address) => isIPv4(address) === (digit === "4"));
  const elements = ours.length === 0 ? "" : `elements = { ${ours.join(", ")} };`;
  return [`set registered${digit} { ${type}; ${elements} }`];
}

/**
 * Knock packets, before connection tracking sees them. One with the hint of a device (its first 8 bytes) is never lost
 * in a flood of others: it does not count towards their limits.
 */
function knockChains(plan: GuardPlan): string[] {
  const ports = list(plan.knockPorts.filter(({ transport }) => transport === "udp").map(({ port }) => port));
  if (ports === undefined) return [];
  return [
    `chain known {`,
    `add @hint_rates { @th,64,64 ${burst(plan.knocksPerHintPerSecondMax)} } counter name knocks_limited drop`,
    `counter name knocks accept`,
    `}`,
    `chain unknown {`,
    `add @rates4 { ip saddr ${burst(plan.knocksPerSourcePerSecondMax)} } counter name knocks_limited drop`,
    `add @rates6 { ${prefix6} ${burst(plan.knocksPerSourcePerSecondMax)} } counter name knocks_limited drop`,
    // Each port has a limit of its own: a flood on one must not take the packets of another.
    ...plan.knockPorts.flatMap(({ transport, port }) =>
      transport === "tcp"
        ? []
        : [`udp dport ${port} ${burst(plan.knocksPerSecondMax)} counter name knocks_limited drop`],
    ),
    `counter name knocks accept`,
    `}`,
    `chain verify {`,
    ...(plan.bansStopKnocks
      ? [
          `ip saddr @bans4 counter name knocks_banned drop`,
          `${prefix6} @bans6 counter name knocks_banned drop`,
        ]
      : []),
    `@th,64,64 @hints goto known`,
    `goto unknown`,
    `}`,
    `chain knock {`,
    `notrack`,
    `ip hdrlength != 5 counter name knocks_misshapen drop`,
    `meta nfproto ipv6 ip6 nexthdr != udp counter name knocks_misshapen drop`,
    ...plan.knockPorts.flatMap(lengthRule),
    ...registrationRules(plan.registeredSources, "knocks_unregistered", "verify"),
    `}`,
    `chain knocks {`,
    `type filter hook prerouting priority raw; policy accept;`,
    `udp dport ${ports} fib daddr type { broadcast, multicast, anycast } drop`,
    `udp dport ${ports} fib daddr type local goto knock`,
    `}`,
  ];
}

function lengthRule({ transport, port, payloadBytes }: KnockPort): string[] {
  if (transport === "tcp" || payloadBytes === undefined) return [];
  const min = payloadBytes.min + udpHeaderBytes;
  const max = payloadBytes.max + udpHeaderBytes;
  const lengths = min === max ? `${min}` : `${min}-${max}`;
  return [`udp dport ${port} udp length != ${lengths} counter name knocks_misshapen drop`];
}

function registrationRules(sources: readonly string[] | undefined, counter: Counter, next: string): string[] {
  if (sources === undefined) return [`goto ${next}`];
  return [
    `ip saddr @registered4 goto ${next}`,
    `ip6 saddr @registered6 goto ${next}`,
    ...registered(sources).prefixes.map(
      (source) => `${isPrefix4(source) ? "ip" : "ip6"} saddr ${source} goto ${next}`,
    ),
    `counter name ${counter} drop`,
  ];
}

function isPrefix4(source: string): boolean {
  return !source.includes(":");
}

function connectionChains(plan: GuardPlan): string[] {
  const hidden = list(plan.hiddenPorts);
  const knock = list(plan.knockPorts.filter(({ transport }) => transport === "tcp").map(({ port }) => port));
  const newOnly = `tcp flags & (fin | syn | rst | ack) != syn drop`;
  const banned = [`ip saddr @bans4 counter name banned drop`, `${prefix6} @bans6 counter name banned drop`];
  return [
    `chain admitted {`,
    `add @connections4 { ip saddr ct count over ${plan.connectionsPerSourceMax} } counter name capped drop`,
    `add @connections6 { ${prefix6} ct count over ${plan.connectionsPerSourceMax} } counter name capped drop`,
    `accept`,
    `}`,
    // What is established stays, whatever happens to windows and bans. A connection begins with a SYN: one that
    // connection tracking would pick up in the middle must not begin here.
    `chain service {`,
    `ct state established,related accept`,
    ...(plan.loopbackIsOpen ? [`iifname "lo" accept`] : []),
    newOnly,
    `ip saddr . tcp dport @windows4 goto admitted`,
    `ip6 saddr . tcp dport @windows6 goto admitted`,
    `ip saddr . tcp sport . tcp dport @exact_windows4 goto admitted`,
    `ip6 saddr . tcp sport . tcp dport @exact_windows6 goto admitted`,
    ...banned,
    `counter name hidden drop`,
    `}`,
    `chain knock_connection_rate {`,
    `add @rates4 { ip saddr limit rate over ${plan.knocksPerSourcePerSecondMax}/second } counter name knocks_limited drop`,
    `add @rates6 { ${prefix6} limit rate over ${plan.knocksPerSourcePerSecondMax}/second } counter name knocks_limited drop`,
    `limit rate over ${plan.knocksPerSecondMax}/second counter name knocks_limited drop`,
    `counter name knocks accept`,
    `}`,
    `chain knock_connection {`,
    `ct state established,related accept`,
    newOnly,
    ...banned,
    ...registrationRules(plan.registeredSources, "knocks_unregistered", "knock_connection_rate"),
    `}`,
    `chain arrivals {`,
    `type filter hook input priority filter - 5; policy accept;`,
    ...(hidden === undefined ? [] : [`tcp dport ${hidden} goto service`]),
    ...(knock === undefined ? [] : [`tcp dport ${knock} goto knock_connection`]),
    `}`,
  ];
}

/**
 * While nobody listens on a knock port, as when the gate starts again, the kernel would answer a knock with "port
 * unreachable", and so show which port it is. The packet it answers stands in the answer.
 */
function silence({ knockPorts }: GuardPlan): string[] {
  const udpPorts = knockPorts.filter(({ transport }) => transport === "udp");
  if (udpPorts.length === 0) return [];
  const icmpHeaderBytes = 8;
  const destinationPortAt = 2;
  const at4 = 8 * (icmpHeaderBytes + 20 + destinationPortAt);
  const at6 = 8 * (icmpHeaderBytes + 40 + destinationPortAt);
  return [
    `chain silence {`,
    `type filter hook output priority filter - 5; policy accept;`,
    ...udpPorts.flatMap(({ port }) => [
      `icmp type destination-unreachable @th,${at4},16 ${port} drop`,
      `icmpv6 type destination-unreachable @th,${at6},16 ${port} drop`,
    ]),
    `}`,
  ];
}

/** `{ 8883, 8884 }`, or undefined for none. */
function list(ports: readonly number[]): string | undefined {
  const unique = [...new Set(ports)];
  return unique.length === 0 ? undefined : `{ ${unique.join(", ")} }`;
}
