import type { Endpoint } from "@postern/gate/host-profile/endpoint";
import type { HostProfile } from "@postern/gate/host-profile/profile";
import { isLoopback } from "@postern/core/host";

import type { Configuration } from "../config/configuration.ts";
import { defaultKnockPort, type GateConfiguration } from "../config/gate.ts";
import { selectConfiguration } from "../config/select.ts";
import type { CommandContext } from "../context.ts";
import { UsageError } from "../errors.ts";
import { commonEndpoints, peersOf, type ProfileOptions } from "./options.ts";

export interface LockdownOptions extends ProfileOptions {
  readonly config?: string;
  readonly data?: string;
  readonly service?: readonly number[];
  readonly client?: readonly string[];
}

const servicePurpose = "own service, hidden by the gate until a knock";

/**
 * The profile of a server: knock ports and its own services come in, of registered clients only where some are named. Ports and
 * registered clients are those of the configuration (listeners beyond loopback), unless others are named.
 */
export function serverProfile(options: LockdownOptions, context: CommandContext): HostProfile {
  const { config, data } = options;
  const { configuration } = selectConfiguration({ config, data, hidden: true }, context.cwd);
  const { gate } = configuration;
  const services = options.service ?? servicesOf(configuration);
  if (services.length === 0) {
    throw new UsageError(
      "There is no service to let in: every listener is on loopback. Name ports with --service.",
    );
  }
  const knocks = options.knockPort === undefined ? knocksOf(gate) : [udpKnock(options.knockPort)];
  const own: Endpoint[] = [];
  for (const peer of peersOf(options.client ?? gate?.registered)) {
    for (const knock of knocks) own.push({ ...knock, peer });
    for (const port of services) own.push({ protocol: "tcp", port, peer, purpose: servicePurpose });
  }
  const listed = commonEndpoints(options, context);
  return { kind: "server", in: [...own, ...listed.in], out: listed.out };
}

function servicesOf({ listeners, est }: Pick<Configuration, "listeners" | "est">): number[] {
  const places = listeners.flatMap(({ address }) => (address.kind === "unix" ? [] : [address]));
  const ports = [...places, ...(est === undefined ? [] : [est])].flatMap(({ host, port }) =>
    isLoopback(host) || port === 0 ? [] : [port],
  );
  return [...new Set(ports)];
}

function udpKnock(port: number): Endpoint {
  return { protocol: "udp", port, purpose: "knock" };
}

function knocksOf(gate: GateConfiguration | undefined): Endpoint[] {
  if (gate === undefined) return [udpKnock(defaultKnockPort)];
  const { port, fwknop, thesis } = gate;
  return [
    udpKnock(port),
    ...(fwknop === undefined ? [] : [udpKnock(fwknop.port)]),
    ...(thesis === undefined
      ? []
      : [{ protocol: thesis.transport, port: thesis.port, purpose: "knock" } as const]),
  ];
}
