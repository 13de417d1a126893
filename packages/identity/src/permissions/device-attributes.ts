import type { Device } from "../device.ts";
import type { DeviceRegistry } from "../registry.ts";
import type { AttributeSource, Attributes } from "./authorizer.ts";

/** What a device is to permissions; nothing once it was removed or revoked. */
function attributesOfDevice({ roles, groups, tenant, removed, revoked }: Device): Attributes | undefined {
  return removed === undefined && revoked === undefined ? { roles, groups, tenant } : undefined;
}

/** Whether a change of a device is one of what it may do. */
export function changesPermissions(before: Device | undefined, after: Device): boolean {
  return keyOf(before) !== keyOf(after);
}

function keyOf(device: Device | undefined): string | undefined {
  return device === undefined ? undefined : JSON.stringify(attributesOfDevice(device));
}

/** Roles, groups and tenants as the registry has them at the moment. */
export function registryAttributes(registry: Pick<DeviceRegistry, "find">): AttributeSource {
  return {
    attributesOf: (name) => {
      const device = registry.find(name);
      return device === undefined ? undefined : attributesOfDevice(device);
    },
  };
}
