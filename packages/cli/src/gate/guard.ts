import { isLoopback } from "@postern/core/host";
import type { GuardPlan, KnockPort } from "@postern/gate/guard-plan";
import { checkPlan, defaultGuardPlan } from "@postern/gate/guard-plan";
import { wireCharactersMax, wireCharactersMin } from "@postern/knock/fwknop/cipher";
import { packetBytes } from "@postern/knock/spa1/packet";

import type { Configuration } from "../config/configuration.ts";
import { ConfigError } from "../config/errors.ts";
import type { GateConfiguration } from "../config/gate.ts";

/** The service that devices ask for: all MQTT listeners. */
export const mqttService = 1;
/** The service that they ask for before they get or renew a certificate. */
export const enrolmentService = 2;

/** Whether the enrolment server is hidden: its clients must knock. */
export function estIsHidden({ est, gate }: Pick<Configuration, "est" | "gate">): boolean {
  return gate !== undefined && est !== undefined && est.hidden && !isLoopback(est.host);
}

/** The ports of each service that devices may ask for. */
export function servicePorts(configuration: Configuration): Map<number, readonly number[]> {
  const services = new Map<number, readonly number[]>([[mqttService, hiddenPorts(configuration)]]);
  const { est, file } = configuration;
  if (est !== undefined && estIsHidden(configuration))
    services.set(enrolmentService, [checkedPort(est.port, file)]);
  return services;
}

function checkedPort(port: number, file: string | undefined): number {
  if (port !== 0) return port;
  throw new ConfigError(
    "est.url needs a port of its own where the gate is to hide it: give it one instead of 0",
    {
      file: file ?? "the configuration",
    },
  );
}

/** The ports that are hidden: those of listeners that other machines could reach. */
export function hiddenPorts({ listeners, file }: Pick<Configuration, "listeners" | "file">): number[] {
  const ports = listeners.flatMap(({ address }) =>
    address.kind === "unix" || isLoopback(address.host) ? [] : [address.port],
  );
  if (ports.includes(0)) {
    throw new ConfigError(
      "a listener that the gate is to hide needs a port of its own: give it one instead of 0",
      {
        file: file ?? "the configuration",
      },
    );
  }
  return [...new Set(ports)];
}

function knockPorts({ port, fwknop, thesis }: GateConfiguration): KnockPort[] {
  return [
    { transport: "udp", port, payloadBytes: { min: packetBytes, max: packetBytes } },
    ...(fwknop === undefined
      ? []
      : [
          {
            transport: "udp",
            port: fwknop.port,
            payloadBytes: { min: wireCharactersMin, max: wireCharactersMax },
          } as const,
        ]),
    ...(thesis === undefined
      ? []
      : [{ transport: thesis.transport, port: thesis.port, payloadBytes: { min: 32, max: 34 } }]),
  ];
}

/** What the kernel is to hide, and to let through. @throws {ConfigError} when it cannot be done. */
export function guardPlan(configuration: Configuration, gate: GateConfiguration): GuardPlan {
  const plan = {
    ...defaultGuardPlan,
    hiddenPorts: [...new Set([...servicePorts(configuration).values()].flat())],
    knockPorts: knockPorts(gate),
    bansStopKnocks: gate.bans.strict,
    ...(gate.registered === undefined ? {} : { registeredSources: gate.registered }),
  };
  try {
    checkPlan(plan);
  } catch (thrown) {
    if (!(thrown instanceof RangeError)) throw thrown;
    const file = configuration.file ?? "the configuration";
    throw new ConfigError(`the gate cannot do this: ${thrown.message}`, { file }, { cause: thrown });
  }
  return plan;
}
