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

/** The set whose elements keep the profile in force: when they time out, all is let through as if there were no profile. */
export const trialSet = "in_force";

/** Endpoints of a profile, each of them a rule. */
const endpointsMax = 256;

/** Time for which a profile is tried before it must be confirmed. */
const trialSecondsMin = 10;
const trialSecondsMax = 3_600;

/**
 * The profile as a file for `nft -f`. With `trialSeconds` the kernel itself lets go of it after that time, whatever becomes of
 * the processes that asked for it. Throws `RangeError` for what cannot be.
 */
export function profileRuleset(profile: HostProfile, trialSeconds?: number): string {
  check(profile, trialSeconds);
  const time = trialSeconds === undefined ? "" : ` timeout ${trialSeconds}s`;
  return [
    `add table inet ${profileTable}`,
    `delete table inet ${profileTable}`,
    `table inet ${profileTable} {`,
    `\tcomment "${profile.kind === "server" ? "postern lockdown" : "postern agent"}"`,
    `\tset ${trialSet} { type nf_proto; flags timeout; elements = { ipv4${time}, ipv6${time} }; }`,
    `\tchain arrivals {`,
    `\t\ttype filter hook input priority filter; policy drop;`,
    `\t\tmeta nfproto != @${trialSet} accept`,
    `\t\tiifname "lo" accept`,
    `\t\tct state established,related accept`,
    `\t\ticmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept`,
    ...profile.in.map((endpoint) => `\t\t${rule(endpoint, "saddr")}`),
    `\t}`,
    `\tchain departures {`,
    `\t\ttype filter hook output priority filter; policy drop;`,
    `\t\tmeta nfproto != @${trialSet} accept`,
    `\t\toifname "lo" accept`,
    `\t\tct state established,related accept`,
    `\t\ticmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, mld2-listener-report } accept`,
    ...profile.out.map((endpoint) => `\t\t${rule(endpoint, "daddr")}`),
    `\t}`,
    `}`,
    ``,
  ].join("\n");
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
