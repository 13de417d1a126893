import { type Dissection } from "../dissection.ts";
import {
  cbkeKeys,
  type CbkeSuite,
  cbkeSuite1,
  cbkeSuite2,
  certificateKey,
  mqvSecret,
  publicKey,
} from "./cbke.ts";
import { decodeKeyEstablishment } from "./key-establishment-command.ts";

/** The secrets of one side, as its maker or a debugger gives them. Certificate and authority's key are public. */
export interface CbkeSecrets {
  readonly certificate: Uint8Array;
  readonly privateKey: Uint8Array;
  /** Of the exchanges that shall be opened: without them, the private key of a certificate opens nothing. */
  readonly ephemeralPrivateKeys: readonly Uint8Array[];
  /** Of the authority that has issued both certificates, compressed. */
  readonly authorityKey: Uint8Array;
}

/** One side of an exchange, as far as it was heard. */
interface Side {
  certificate: Uint8Array | undefined;
  ephemeralKey: Uint8Array | undefined;
}

interface Exchange {
  suite: CbkeSuite;
  readonly client: Side;
  readonly server: Side;
}

const exchangesMax = 256;

/** Derives the link key of an exchange that goes by, where the secrets of one side are given. @see Smart Energy Annex C.4 */
export class CbkeHarvester {
  readonly #secrets: readonly CbkeSecrets[];
  /** By network, client and server. */
  readonly #exchanges = new Map<string, Exchange>();

  constructor(secrets: readonly CbkeSecrets[]) {
    this.#secrets = secrets;
  }

  /** The link key, when this message was the last that was missing. */
  take({ aps, nwk, mac, apsPayload, apsPayloadStart, apsPayloadEnd }: Dissection): Uint8Array | undefined {
    if (aps === undefined || nwk === undefined || apsPayload === undefined) return undefined;
    const message = decodeKeyEstablishment(apsPayload, apsPayloadStart, apsPayloadEnd);
    if (message.kind !== "initiate" && message.kind !== "ephemeral-data") return undefined;
    const [client, server] = message.fromServer
      ? [nwk.destinationShort, nwk.sourceShort]
      : [nwk.sourceShort, nwk.destinationShort];
    const pair = `${mac.destinationPan} ${client} ${server}`;
    const begins = message.kind === "initiate" && !message.fromServer;
    let exchange = begins ? undefined : this.#exchanges.get(pair);
    if (exchange === undefined) {
      if (message.kind !== "initiate") return undefined;
      if (this.#exchanges.size >= exchangesMax) this.#exchanges.clear();
      exchange = { suite: message.suite, client: unheard(), server: unheard() };
      this.#exchanges.set(pair, exchange);
    }
    const side = message.fromServer ? exchange.server : exchange.client;
    if (message.kind === "initiate") side.certificate = message.certificate.slice();
    else side.ephemeralKey = message.key.slice(0, 1 + Math.ceil(exchange.suite.curve.degree / 8));
    return (
      this.#open(exchange.suite, exchange.client, exchange.server) ??
      this.#open(exchange.suite, exchange.server, exchange.client)
    );
  }

  #open(suite: CbkeSuite, own: Side, peer: Side): Uint8Array | undefined {
    const { certificate, ephemeralKey } = own;
    if (certificate === undefined || ephemeralKey === undefined) return undefined;
    if (peer.certificate === undefined || peer.ephemeralKey === undefined) return undefined;
    for (const secrets of this.#secrets) {
      if (!isSame(secrets.certificate, certificate)) continue;
      const ephemeralPrivateKey = secrets.ephemeralPrivateKeys.find((candidate) => {
        const found = publicKey(suite.curve, candidate);
        return found !== undefined && isSame(found, ephemeralKey);
      });
      const peerKey = certificateKey(suite, peer.certificate, secrets.authorityKey);
      if (ephemeralPrivateKey === undefined || peerKey === undefined) continue;
      const { privateKey } = secrets;
      const peerEphemeralKey = peer.ephemeralKey;
      const secret = mqvSecret(suite.curve, { privateKey, ephemeralPrivateKey, peerKey, peerEphemeralKey });
      if (secret !== undefined) return cbkeKeys(secret).linkKey;
    }
    return undefined;
  }
}

/** The suite whose certificates are so long; `undefined`: none. */
export function suiteOfCertificate({ length }: Uint8Array): CbkeSuite | undefined {
  return [cbkeSuite1, cbkeSuite2].find(({ certificateBytes }) => certificateBytes === length);
}

function unheard(): Side {
  return { certificate: undefined, ephemeralKey: undefined };
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
