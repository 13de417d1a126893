import { isUtf8 } from "node:buffer";

/**
 * Decodes an MQTT UTF-8 string (without its length). `undefined` when it is not strict UTF-8 (overlong forms,
 * surrogates, beyond U+10FFFF) or holds U+0000. U+FEFF is kept wherever it stands.
 * @see MQTT 5.0 §1.5.4 [MQTT-1.5.4-1] [MQTT-1.5.4-2] [MQTT-1.5.4-3]
 */
export function decodeUtf8(bytes: Buffer, start: number, end: number): string | undefined {
  let ascii = true;
  for (let index = start; index < end; index++) {
    const byte = bytes[index] ?? 0;
    if (byte === 0) return undefined;
    if (byte > 0x7f) ascii = false;
  }
  if (ascii) return bytes.toString("latin1", start, end);
  return isUtf8(bytes.subarray(start, end)) ? bytes.toString("utf8", start, end) : undefined;
}

/** Control characters and non-characters: the last two code points of each plane, and U+FDD0 to U+FDEF. */
function isDiscouraged(codePoint: number): boolean {
  if (codePoint < 0x20 || (codePoint >= 0x7f && codePoint <= 0x9f)) return true;
  return (codePoint >= 0xfd_d0 && codePoint <= 0xfd_ef) || (codePoint & 0xff_fe) === 0xff_fe;
}

/**
 * Whether a text holds control characters or non-characters, which a sender SHOULD NOT use and a receiver MAY refuse.
 * The decoders let them through: devices in the field use them.
 * @see MQTT 5.0 §1.5.4
 */
export function hasDiscouragedCharacters(text: string): boolean {
  for (const character of text) {
    if (isDiscouraged(character.codePointAt(0) ?? 0)) return true;
  }
  return false;
}
