import type { Device } from "@postern/identity/device";
import { PolicyAuthorizer } from "@postern/identity/permissions/authorizer";
import { registryAttributes } from "@postern/identity/permissions/device-attributes";
import { explain } from "@postern/identity/permissions/explain";
import type { Policy } from "@postern/identity/permissions/policy";
import type { DeviceRegistry } from "@postern/identity/registry";

import type { ExplainRequest, ExplainResult } from "../admin/protocol.ts";

/** How clients that prove nothing are named where a device is asked for. */
const anonymous = "anonymous";

/** Answers who may do what, by a policy and a registry. */
export function explainRequested(
  policy: Policy,
  registry: DeviceRegistry,
  { device, client, operation, topic, qos }: ExplainRequest,
): ExplainResult {
  const known = registry.find(device);
  const isAnonymous = device === anonymous && known === undefined;
  if (!isAnonymous && known === undefined) return { kind: "unknown-device", count: registry.count };
  const authorizer = new PolicyAuthorizer(registryAttributes(registry));
  authorizer.use(policy);
  const identity = { name: isAnonymous ? "" : device, anonymous: isAnonymous };
  const permissions = authorizer.permissionsOf({ identity, clientId: client });
  const explanation = explain(permissions, policy, { operation, topic, qos });
  const remarks = [...explanation.remarks, ...endOf(known)];
  return { kind: "explained", explanation: { ...explanation, remarks } };
}

/** Why a device has no rights whatever its roles. */
function endOf(device: Device | undefined): string[] {
  if (device?.removed !== undefined) return [`the device was removed on ${device.removed}`];
  if (device?.revoked !== undefined) return [`the device was revoked on ${device.revoked.at}`];
  return [];
}
