import {
  createDerReader,
  enter,
  fail,
  finish,
  hasMore,
  leave,
  peekTag,
  readElement,
  readObjectIdentifier,
  readSmallInteger,
  skip,
  type Decoded,
} from "./der/reader.ts";
import { Tag, contextTag } from "./der/tag.ts";
import { element, explicit, integer, objectIdentifier, sequence, setOf } from "./der/writer.ts";

const dataOid = "1.2.840.113549.1.7.1";
const signedDataOid = "1.2.840.113549.1.7.2";

/** More than any chain has. */
const certificatesMax = 32;

/**
 * A certs-only message: a CMS SignedData that signs nothing and carries certificates (DER), the leaf first where there is one. Their order
 * is kept, as readers show it. @see RFC 5652 §5.1, RFC 5272 §4.1, RFC 7030 §4.1.3
 */
export function encodeCertsOnly(certificates: readonly Uint8Array[]): Buffer {
  const signedData = sequence(
    integer(1),
    setOf(),
    sequence(objectIdentifier(dataOid)),
    element(contextTag(0), ...certificates),
    setOf(),
  );
  return sequence(objectIdentifier(signedDataOid), explicit(0, signedData));
}

/** The certificates (DER, not looked into) of a certs-only message, in its order. Never throws. */
export function decodeCertsOnly(bytes: Uint8Array): Decoded<Uint8Array[]> {
  const reader = createDerReader(bytes);
  const certificates: Uint8Array[] = [];
  const info = enter(reader, Tag.sequence, "ContentInfo");
  if (readObjectIdentifier(reader, "contentType") !== signedDataOid) fail(reader, "it is no SignedData");
  const content = enter(reader, contextTag(0), "content");
  const data = enter(reader, Tag.sequence, "SignedData");
  readSmallInteger(reader, "version");
  readElement(reader, Tag.set, "digestAlgorithms");
  readElement(reader, Tag.sequence, "encapContentInfo");
  if (peekTag(reader) === contextTag(0)) {
    const list = enter(reader, contextTag(0), "certificates");
    while (hasMore(reader) && certificates.length < certificatesMax)
      certificates.push(readElement(reader, Tag.sequence, "Certificate"));
    leave(reader, list, "certificates");
  }
  // Revocation lists may follow, which are fetched where they are current.
  if (peekTag(reader) === contextTag(1)) skip(reader, "crls");
  readElement(reader, Tag.set, "signerInfos");
  leave(reader, data, "SignedData");
  leave(reader, content, "content");
  leave(reader, info, "ContentInfo");
  return finish(reader, certificates);
}
