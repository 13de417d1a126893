import type { Bundle } from "@postern/core/bundle";
import type { Device } from "@postern/identity/device";
import { deriveKnockSecret } from "@postern/knock/spa1/keys";

import type { GateConfiguration } from "../config/gate.ts";
import type { GateIdentity } from "./gate-files.ts";
import { enrolmentService, mqttService } from "./guard.ts";

/** How a device knocks, for its bundle. */
export type KnockOf = (device: Device) => Bundle["knock"];

/** What this gate's devices are given; `undefined` where there is no gate. */
export function knockOf(
  gate: GateConfiguration | undefined,
  identity: GateIdentity | undefined,
  hidesEnrolment: boolean,
): KnockOf | undefined {
  if (gate === undefined || identity === undefined) return undefined;
  const policies = new Map(gate.devices.map((policy) => [policy.name, policy]));
  return ({ name, tenant, knockKeyVersion }) => {
    const { roaming = gate.roaming, clockless = false } = policies.get(name) ?? {};
    const owner = { tenant, device: name, keyVersion: knockKeyVersion };
    return {
      gate: identity.gateId,
      port: gate.port,
      secret: deriveKnockSecret(identity.master, owner).toString("base64"),
      service: mqttService,
      ...(hidesEnrolment ? { enrolment: enrolmentService } : {}),
      address: roaming && !clockless ? "seen" : "own",
      ...(clockless ? { clockless } : {}),
    };
  };
}
