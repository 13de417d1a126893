import type { CredentialsResult } from "./authenticator.ts";
import { refusalOfDevice } from "./device.ts";
import type { DeviceRegistry } from "./registry.ts";

/** @see MQTT 5.0 §3.2.2.2 */
const notAuthorized = 0x87;

/** The pre-shared key of an identity, for a handshake; `undefined` when no device in use has it. @see RFC 4279, RFC 8446 §4.2.11 */
export function pskOf(registry: DeviceRegistry, identity: string): Buffer | undefined {
  const device = registry.findByPskIdentity(identity);
  if (device?.psk === undefined || refusalOfDevice(device) !== undefined) return undefined;
  return Buffer.from(device.psk.key, "base64");
}

/** Who somebody is that TLS saw prove a key. The registry is asked again: between handshake and CONNECT it may have changed. */
export function authenticatePsk(registry: DeviceRegistry, identity: string): CredentialsResult {
  const device = registry.findByPskIdentity(identity);
  if (device === undefined)
    return { kind: "refused", reasonCode: notAuthorized, reason: "no device has this PSK identity any more" };
  const refusal = refusalOfDevice(device);
  if (refusal !== undefined)
    return {
      kind: "refused",
      reasonCode: notAuthorized,
      reason: `the pre-shared key of ${device.name} is refused: ${refusal}`,
    };
  return { kind: "accepted", identity: { name: device.name, anonymous: false }, untilMs: Infinity };
}
