/** The messages of SCRAM. All are short, and their values hold no comma. @see RFC 5802 §5, §7 */

const messageBytesMax = 1_024;
const nonceCharactersMax = 256;

/** `client-first-message`. */
export interface ClientFirst {
  /** With its comma: `n,,`. */
  readonly gs2Header: string;
  /** `client-first-message-bare`. */
  readonly bare: string;
  readonly username: string;
  readonly nonce: string;
}

/** `client-final-message`. */
export interface ClientFinal {
  readonly channelBinding: string;
  readonly nonce: string;
  readonly proof: Buffer;
  readonly withoutProof: string;
}

/** What is wrong with a message, for the log. */
export interface Malformed {
  readonly malformed: string;
}

const printable = "[\\x21-\\x2b\\x2d-\\x7e]+";
const clientFirst = new RegExp(`^([ny],,)(n=([^,]+),r=(${printable}))$`);
const clientFinal = new RegExp(`^(c=([A-Za-z0-9+/=]+),r=(${printable})),p=([A-Za-z0-9+/]{43}=)$`);

/**
 * Takes a client's first message apart. Channel binding is not offered, so none may be asked for; nobody may act for somebody
 * else (`a=`), and extensions are not known.
 */
export function parseClientFirst(data: Uint8Array): ClientFirst | Malformed {
  const text = textOf(data);
  if (text === undefined) return { malformed: "its first message is too long or no UTF-8" };
  if (text.startsWith("p=")) return { malformed: "it asks for channel binding, which is not offered" };
  const [, gs2Header, bare, escaped, nonce] = clientFirst.exec(text) ?? [];
  if (gs2Header === undefined || bare === undefined || escaped === undefined || nonce === undefined)
    return { malformed: "its first message is not of the form n,,n=name,r=nonce" };
  const username = unescaped(escaped);
  if (username === undefined) return { malformed: "its user name has a wrong escape" };
  if (nonce.length > nonceCharactersMax) return { malformed: "its nonce is too long" };
  return { gs2Header, bare, username, nonce };
}

export function parseClientFinal(data: Uint8Array): ClientFinal | Malformed {
  const text = textOf(data);
  if (text === undefined) return { malformed: "its last message is too long or no UTF-8" };
  const [, withoutProof, channelBinding, nonce, proof] = clientFinal.exec(text) ?? [];
  if (
    withoutProof === undefined ||
    channelBinding === undefined ||
    nonce === undefined ||
    proof === undefined
  )
    return { malformed: "its last message is not of the form c=…,r=nonce,p=proof" };
  return { channelBinding, nonce, proof: Buffer.from(proof, "base64"), withoutProof };
}

function textOf(data: Uint8Array): string | undefined {
  if (data.length > messageBytesMax) return undefined;
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
  } catch {
    return undefined;
  }
}

/** `=2C` stands for a comma and `=3D` for an equals sign; another use of `=` is wrong. @see RFC 5802 §5.1 */
function unescaped(name: string): string | undefined {
  if (/=(?!2C|3D)/.test(name)) return undefined;
  return name.replaceAll("=2C", ",").replaceAll("=3D", "=");
}
