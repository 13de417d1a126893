import type { Device } from "../device.ts";
import type { DeviceRegistry } from "../registry.ts";
import type { AttributeSource, Attributes } from "./authorizer.ts";

/** What a device is to permissions: nobody with any role once it was removed or revoked, whoever else vouches for its name. */
function attributesOfDevice({ roles, groups, tenant, removed, revoked }: Device): Attributes {
  const ended = removed !== undefined || revoked !== undefined;
  return ended ? { roles: [], groups: [], tenant } : { roles, groups, tenant };
}

/** Whether a change of a device is one of what it may do. */
export function changesPermissions(before: Device | undefined, after: Device): boolean {
  return keyOf(before) !== keyOf(after);
}

function keyOf(device: Device | undefined): string | undefined {
  return device === undefined ? undefined : JSON.stringify(attributesOfDevice(device));
}

/** Roles, groups and tenants as the registry has them at the moment; of others, what `outside` says. */
export function registryAttributes(
  registry: Pick<DeviceRegistry, "find">,
  outside?: Pick<AttributeSource, "attributesOf">,
): AttributeSource {
  return {
    attributesOf: (name) => {
      const device = registry.find(name);
      return device === undefined ? outside?.attributesOf(name) : attributesOfDevice(device);
    },
    isForeign: (name) => registry.find(name) === undefined,
  };
}
