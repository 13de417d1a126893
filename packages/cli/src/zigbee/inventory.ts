import { readFileSync } from "node:fs";

import { type Expectations } from "@postern/audit/zigbee/expectations";
import { errorText } from "@postern/core/errors";
import { type Eui64, parseEui64 } from "@postern/zigbee/eui64";
import { z } from "zod";

import { UsageError } from "../errors.ts";
import { fileIssue } from "./file-issue.ts";

const address = z.string().transform((text, context): Eui64 => {
  const parsed = parseEui64(text);
  if (parsed !== undefined) return parsed;
  context.addIssue({ code: "custom", message: "is not a device's address of 16 hexadecimal digits" });
  return z.NEVER;
});

const pan = z
  .string()
  .regex(/^0x[0-9a-f]{1,4}$/i, "is not a PAN id such as 0x1a62")
  .transform(Number);

/** What is expected: devices by address, networks by PAN id, network keys by the fingerprint that a report shows. */
const inventorySchema = z.strictObject({
  networks: z.array(z.strictObject({ pan, name: z.string().optional() })).optional(),
  devices: z.array(z.strictObject({ address, name: z.string().optional() })).optional(),
  networkKeys: z.array(z.string().regex(/^[0-9a-f]{8}$/, "is not a fingerprint of eight digits")).optional(),
});

/** Reads an inventory. Throws `UsageError` with the place of the mistake. */
export function loadInventory(file: string, name: string): Expectations {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, "utf8"));
  } catch (thrown) {
    throw new UsageError(`cannot read the inventory ${name}: ${errorText(thrown)}`, { cause: thrown });
  }
  const parsed = inventorySchema.safeParse(value);
  if (!parsed.success) {
    throw new UsageError(fileIssue(name, parsed.error));
  }
  const { networks, devices, networkKeys } = parsed.data;
  return {
    pans: networks === undefined ? undefined : new Set(networks.map((network) => network.pan)),
    devices: devices === undefined ? undefined : new Set(devices.map((device) => device.address)),
    keys: networkKeys === undefined ? undefined : new Set(networkKeys),
  };
}
