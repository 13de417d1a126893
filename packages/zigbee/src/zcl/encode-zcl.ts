import { uint16, uint8 } from "../encoding.ts";
import { joined } from "../security/mmo-hash.ts";

/** A report of one attribute from its server; no default response is asked for. @see ZCL §2.5.11 */
export function encodeZclReport(
  sequence: number,
  attribute: { readonly id: number; readonly type: number; readonly value: Uint8Array },
): Uint8Array {
  const { id, type, value } = attribute;
  return joined(Uint8Array.of(0x18, sequence, 0x0a), uint16(id), uint8(type), value);
}

/** A command of a cluster; no default response is asked for. @see ZCL §2.4 */
export function encodeZclCommand(
  sequence: number,
  command: { readonly id: number; readonly fromServer: boolean; readonly payload?: Uint8Array },
): Uint8Array {
  const control = 0x11 | (command.fromServer ? 0x08 : 0);
  return joined(Uint8Array.of(control, sequence, command.id), command.payload ?? new Uint8Array(0));
}
