import { createHash } from "node:crypto";
import { isIPv4 } from "node:net";

import { digestsOfLength, fwknopDigests, unpadded, type FwknopDigest } from "./digests.ts";

/** An access message, the only kind that is ever carried out. */
export interface FwknopAccess {
  readonly username: string;
  readonly timestampMs: number;
  /** As written, dotted; `0.0.0.0` stands for where the packet comes from. */
  readonly address: string;
  readonly tcpPorts: readonly number[];
  /** 0 for none in particular. */
  readonly timeoutSeconds: number;
  /** The hash over the message, with which it was found intact. */
  readonly digest: FwknopDigest;
}

export type ParsedMessage =
  | { readonly kind: "access"; readonly access: FwknopAccess }
  /** Intact, but a command, a NAT request, another protocol than TCP or the like. */
  | { readonly kind: "not-allowed" }
  | { readonly kind: "malformed" };

const malformed: ParsedMessage = { kind: "malformed" };
const notAllowed: ParsedMessage = { kind: "not-allowed" };

/** Access, and access with the client's time-out: types by the fields of the message before the digest. */
const accessFields: ReadonlyMap<string, number> = new Map([
  ["1", 6],
  ["3", 7],
]);
const knownTypes = /^[0-6]$/;
const usernameCharactersMax = 64;
const messageCharactersMax = 256;
const portsMax = 16;

/** Reads a decrypted packet. Never throws. */
export function parseMessage(plain: string): ParsedMessage {
  const digestAt = plain.lastIndexOf(":");
  const fields = plain.slice(0, Math.max(digestAt, 0)).split(":");
  const [random = "", username = "", seconds = "", version = "", type = "", message = "", timeout = "0"] =
    fields;
  if (!/^\d{16}$/.test(random) || !/^\d{1,12}$/.test(seconds) || !/^\d\.\d\.\d{1,2}$/.test(version)) {
    return malformed;
  }
  const digest = matchingDigest(plain.slice(0, digestAt), plain.slice(digestAt + 1));
  if (digest === undefined || !knownTypes.test(type)) return malformed;
  const count = accessFields.get(type);
  // One field more is the password of fwknop's long gone "server auth".
  if (count === undefined || fields.length === count + 1) return notAllowed;
  if (fields.length !== count || !/^\d{1,9}$/.test(timeout)) return malformed;
  const name = decodeText(username, usernameCharactersMax);
  const request = decodeText(message, messageCharactersMax);
  if (name === undefined || request === undefined) return malformed;
  const [address = "", ...targets] = request.split(",");
  if (!isIPv4(address) || targets.length === 0 || targets.length > portsMax) return malformed;
  const tcpPorts: number[] = [];
  for (const target of targets) {
    const [, protocol, port] = /^([a-z]{1,8})\/(\d{1,5})$/i.exec(target) ?? [];
    if (protocol === undefined || Number(port) > 65_535) return malformed;
    if (protocol.toLowerCase() !== "tcp") return notAllowed;
    tcpPorts.push(Number(port));
  }
  return {
    kind: "access",
    access: {
      username: name,
      timestampMs: Number(seconds) * 1000,
      address,
      tcpPorts,
      timeoutSeconds: Number(timeout),
      digest,
    },
  };
}

function matchingDigest(covered: string, found: string): FwknopDigest | undefined {
  return digestsOfLength(found.length).find(
    (name) => unpadded(createHash(fwknopDigests[name].hash).update(covered, "latin1").digest()) === found,
  );
}

/** Printable ASCII from unpadded base64. */
function decodeText(encoded: string, charactersMax: number): string | undefined {
  if (!/^[A-Za-z0-9+/]+$/.test(encoded)) return undefined;
  const text = Buffer.from(encoded, "base64").toString("latin1");
  return text.length <= charactersMax && /^[\x20-\x7e]+$/.test(text) ? text : undefined;
}
