import { join } from "node:path";

import { dataDirectoryAt } from "@postern/identity/data-directory";
import { newDevice, type Device } from "@postern/identity/device";
import { startInstallation } from "@postern/identity/testing";

/** Makes a data directory with the first device and these, before a server runs on it. */
export async function prepareInstallation(
  data: string,
  devices: readonly (Partial<Device> & Pick<Device, "name">)[],
): Promise<void> {
  const nowMs = Date.now();
  const { registry } = await startInstallation(dataDirectoryAt(data), { nowMs });
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
