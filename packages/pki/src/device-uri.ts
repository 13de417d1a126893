/**
 * The name a device certificate carries: a URI subject alternative name `urn:iot:<tenant>:<device>`.
 * @see RFC 8141 §2 (URN syntax), RFC 5280 §4.2.1.6 (subject alternative name)
 */

/** A tenant's or a device's name: it also names files and appears in topics and logs, so it is kept plain. */
const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** What `isDeviceName` accepts, for messages. */
export const deviceNameRule =
  "1 to 64 letters, digits, dots, underscores and hyphens, the first a letter or digit";

/** Whether `name` may name a device or a tenant. */
export function isDeviceName(name: string): boolean {
  return namePattern.test(name);
}

export interface DeviceUri {
  readonly tenant: string;
  readonly device: string;
}

/** @throws {RangeError} when a part is not a legal name. */
export function formatDeviceUri({ tenant, device }: DeviceUri): string {
  for (const name of [tenant, device]) {
    if (!isDeviceName(name)) throw new RangeError(`"${name}" is not a name of ${deviceNameRule}`);
  }
  return `urn:iot:${tenant}:${device}`;
}

/** What a claim's certificate carries in the place of a device's name; never a device's URI. @throws {RangeError} when a part is not a legal name. */
export function formatClaimUri({
  tenant,
  claim,
}: {
  readonly tenant: string;
  readonly claim: string;
}): string {
  return formatDeviceUri({ tenant, device: claim }).replace("urn:iot:", "urn:iot-claim:");
}

/** The parts of `uri`, or `undefined` when it is not a device's. */
export function parseDeviceUri(uri: string): DeviceUri | undefined {
  const [scheme, namespace, tenant, device, ...more] = uri.split(":");
  if (scheme !== "urn" || namespace !== "iot" || tenant === undefined || device === undefined)
    return undefined;
  return more.length === 0 && isDeviceName(tenant) && isDeviceName(device) ? { tenant, device } : undefined;
}
