/** DER as text and back. @see RFC 7468 */

/** One block with lines of 64 characters, the last ended by a line feed. */
export function toPem(label: string, der: Uint8Array): string {
  const base64 = Buffer.from(der.buffer, der.byteOffset, der.byteLength).toString("base64");
  const lines = base64.match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

/** All blocks of this label in `text`, in its order; what stands around them is passed over, and so is a block that is no base64. */
export function fromPem(label: string, text: string): Buffer[] {
  const begin = `-----BEGIN ${label}-----`;
  const end = `-----END ${label}-----`;
  const found: Buffer[] = [];
  for (let start = text.indexOf(begin); start !== -1; start = text.indexOf(begin, start + begin.length)) {
    const stop = text.indexOf(end, start);
    if (stop === -1) break;
    const body = text.slice(start + begin.length, stop).replace(/\s+/g, "");
    if (/^[A-Za-z0-9+/]+={0,2}$/.test(body)) found.push(Buffer.from(body, "base64"));
  }
  return found;
}
