import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { dataDirectoryAt } from "@postern/identity/data-directory";
import { newDevice, type Device } from "@postern/identity/device";
import { defaultPermissions } from "@postern/identity/permissions/default-file";
import { startInstallation } from "@postern/identity/testing";

/** Makes a data directory with the first device and these, before a server runs on it. */
export async function prepareInstallation(
  data: string,
  devices: readonly (Partial<Device> & Pick<Device, "name">)[],
): Promise<void> {
  const nowMs = Date.now();
  const directory = dataDirectoryAt(data);
  const { registry } = await startInstallation(directory, { nowMs });
  writeFileSync(directory.permissions, defaultPermissions, { mode: 0o600 });
  registry.putAll(
    devices.map((device) => ({
      ...newDevice({ name: device.name, tenant: "default", roles: ["administrator"] }, nowMs),
      ...device,
    })),
  );
  registry.close();
}

/** Where `configured` in `support/configurations.ts` has the server keep its data. */
export function dataBeside(directory: string): string {
  return join(directory, "data");
}
