import type { Device } from "@postern/identity/device";
import { PolicyAuthorizer, type AttributeSource } from "@postern/identity/permissions/authorizer";
import { registryAttributes } from "@postern/identity/permissions/device-attributes";
import { explain } from "@postern/identity/permissions/explain";
import type { Policy } from "@postern/identity/permissions/policy";
import type { DeviceRegistry } from "@postern/identity/registry";

import type { ExplainRequest, ExplainResult } from "../admin/protocol.ts";

/** How clients that prove nothing are named where a device is asked for. */
const anonymous = "anonymous";

/** By what a question is answered. */
export interface ExplainBasis {
  readonly policy: Policy;
  readonly registry: DeviceRegistry;
  /** Those who are not in the registry, where somebody knows of them. */
  readonly outside?: Pick<AttributeSource, "attributesOf">;
}

/** Answers who may do what. */
export function explainRequested(
  { policy, registry, outside }: ExplainBasis,
  { device, client, operation, topic, qos }: ExplainRequest,
): ExplainResult {
  const known = registry.find(device);
  const isKnown = known !== undefined || outside?.attributesOf(device) !== undefined;
  const isAnonymous = device === anonymous && !isKnown;
  if (!isAnonymous && !isKnown) return { kind: "unknown-device", count: registry.count };
  const authorizer = new PolicyAuthorizer(registryAttributes(registry, outside));
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
