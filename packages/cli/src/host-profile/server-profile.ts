import type { Endpoint } from "@postern/gate/host-profile/endpoint";
import type { HostProfile } from "@postern/gate/host-profile/profile";

import { isLoopback } from "../config/listener-url.ts";
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
 * The profile of a server: the knock port and its own services come in, of registered clients only where some are named.
 * Services are the ports that the configuration has its listeners on, beyond loopback, unless others are named.
 */
export function serverProfile(options: LockdownOptions, context: CommandContext): HostProfile {
  const services = options.service ?? configuredServices(options, context);
  if (services.length === 0) {
    throw new UsageError(
      "There is no service to let in: every listener is on loopback. Name ports with --service.",
    );
  }
  const own: Endpoint[] = [];
  for (const peer of peersOf(options.client)) {
    own.push({ protocol: "udp", port: options.knockPort, peer, purpose: "knock" });
    for (const port of services) own.push({ protocol: "tcp", port, peer, purpose: servicePurpose });
  }
  const listed = commonEndpoints(options, context);
  return { kind: "server", in: [...own, ...listed.in], out: listed.out };
}

function configuredServices({ config, data }: LockdownOptions, { cwd }: CommandContext): number[] {
  const { configuration } = selectConfiguration({ config, data }, cwd);
  const ports = configuration.listeners.flatMap(({ address }) =>
    address.kind === "unix" || isLoopback(address.host) || address.port === 0 ? [] : [address.port],
  );
  return [...new Set(ports)];
}
