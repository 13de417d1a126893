/** More than a name and a token have. */
const headerCharactersMax = 512;

/** User name and password of an `Authorization` header; `undefined` when it is no Basic one. @see RFC 7617 §2 */
export function basicCredentials(
  header: string | undefined,
): { readonly username: string; readonly password: string } | undefined {
  if (header === undefined || header.length > headerCharactersMax) return undefined;
  const [, encoded] = /^Basic +([A-Za-z0-9+/]+={0,2})$/i.exec(header) ?? [];
  if (encoded === undefined) return undefined;
  const text = Buffer.from(encoded, "base64").toString("utf8");
  const colon = text.indexOf(":");
  return colon < 0 ? undefined : { username: text.slice(0, colon), password: text.slice(colon + 1) };
}
