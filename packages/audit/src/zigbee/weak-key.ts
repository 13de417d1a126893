/** What shows that a key was not drawn at random, as the end of a sentence about its bytes; `undefined`: nothing. */
export function weakness(key: Uint8Array): string | undefined {
  // By chance: 2^-23 for sixteen printable bytes, less for the others.
  if (key.every((byte) => byte >= 0x20 && byte < 0x7f)) return "are all printable characters";
  if (new Set(key).size <= 4) return "are at most four different values";
  const step = ((key[1] ?? 0) - (key[0] ?? 0)) & 0xff;
  const isSequence = key.every(
    (byte, index) => index === 0 || ((byte - (key[index - 1] ?? 0)) & 0xff) === step,
  );
  return isSequence ? "count up or down in equal steps" : undefined;
}
