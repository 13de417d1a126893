/**
 * Packets as a reader writes them: hex bytes, and "text" for a UTF-8 string with its two bytes of length.
 *
 *     notation('00 0a "a/b" 01')  →  00 0a 00 03 61 2f 62 01
 */
export function notation(text: string): Buffer {
  const tokens = text.match(/"[^"]*"|[^\s"]+/g) ?? [];
  return Buffer.concat(
    tokens.map((token) => (token.startsWith('"') ? mqttString(token.slice(1, -1)) : hex(token))),
  );
}

function mqttString(text: string): Buffer {
  const bytes = Buffer.from(text, "utf8");
  return Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length), bytes]);
}

function hex(token: string): Buffer {
  if (!/^([0-9a-f]{2})+$/.test(token)) throw new TypeError(`"${token}" is not hex`);
  return Buffer.from(token, "hex");
}

/** A packet of this first byte and body, with the remaining length that is true (up to 16,383). */
export function packetOf(first: number, body: string): Buffer {
  const bytes = notation(body);
  const length = bytes.length < 128 ? [bytes.length] : [(bytes.length & 0x7f) | 0x80, bytes.length >> 7];
  return Buffer.concat([Buffer.of(first, ...length), bytes]);
}
