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
  const isAnonymous = device === anonymous && registry.find(device) === undefined;
  if (!isAnonymous && registry.find(device) === undefined)
    return { kind: "unknown-device", count: registry.count };
  const authorizer = new PolicyAuthorizer(registryAttributes(registry));
  authorizer.use(policy);
  const identity = { name: isAnonymous ? "" : device, anonymous: isAnonymous };
  const permissions = authorizer.permissionsOf({ identity, clientId: client });
  return { kind: "explained", explanation: explain(permissions, policy, { operation, topic, qos }) };
}
