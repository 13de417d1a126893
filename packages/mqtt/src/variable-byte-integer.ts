/** The largest value four bytes hold. @see MQTT 5.0 §1.5.5 */
export const variableByteIntegerMax = 268_435_455;

/** `readVariableByteInteger` came to the end of the bytes before the last byte of the integer. */
export const variableByteIntegerIncomplete = -1;
/** `readVariableByteInteger` found a fifth byte, or more bytes than the value needs. */
export const variableByteIntegerMalformed = -2;

/** How many bytes (1 to 4) a value of 0 to 268,435,455 takes. */
export function variableByteIntegerBytes(value: number): number {
  if (value < 128) return 1;
  if (value < 16_384) return 2;
  return value < 2_097_152 ? 3 : 4;
}

/**
 * Reads a variable byte integer at `offset`; at most the bytes before `end` are looked at. Returns its value, which
 * took `variableByteIntegerBytes(value)` bytes (a longer form is malformed), or one of the two negative results.
 * @see MQTT 5.0 §1.5.5 [MQTT-1.5.5-1]
 */
export function readVariableByteInteger(bytes: Buffer, offset: number, end: number): number {
  let value = 0;
  for (let index = 0; index < 4; index++) {
    if (offset + index >= end) return variableByteIntegerIncomplete;
    const byte = bytes[offset + index] ?? 0;
    value |= (byte & 0x7f) << (7 * index);
    if (byte < 0x80) return byte === 0 && index > 0 ? variableByteIntegerMalformed : value;
  }
  return variableByteIntegerMalformed;
}

/** Writes a value of 0 to 268,435,455 in its shortest form and returns the offset after it. The caller has made sure of the range and the room. */
export function writeVariableByteInteger(target: Uint8Array, offset: number, value: number): number {
  let rest = value;
  while (rest > 127) {
    target[offset++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  target[offset++] = rest;
  return offset;
}
