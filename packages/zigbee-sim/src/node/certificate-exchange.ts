import { type Eui64, eui64At } from "@postern/zigbee/eui64";
import {
  cbkeKeys,
  type CbkeParty,
  cbkeSuite1,
  certificateKey,
  certificateSubject,
  confirmation,
  mqvSecret,
  publicKey,
} from "@postern/zigbee/key-establishment/cbke";
import { type CbkeSecrets } from "@postern/zigbee/key-establishment/cbke-harvester";
import {
  drawPrivateKey,
  type IssuedCertificate,
} from "@postern/zigbee/key-establishment/certificate-authority";
import {
  encodeConfirmKeyData,
  encodeEphemeralData,
  encodeInitiate,
  smartEnergyProfile,
} from "@postern/zigbee/key-establishment/encode-key-establishment";
import {
  decodeKeyEstablishment,
  type KeyEstablishmentCommand,
  keyEstablishmentCluster,
} from "@postern/zigbee/key-establishment/key-establishment-command";

import { type ApsIndication } from "./aps.ts";
import { type Device } from "./device.ts";

const endpoint = 1;
const centreAddress = 0;
/** How long the whole exchange may take before it is begun again, and how often. */
const exchangeUs = 15_000_000;
const attemptsMax = 4;
const firstWaitUs = 3_000_000;

/** What a device was given by its maker. */
export interface Identity extends IssuedCertificate {
  /** Of who has issued all certificates. */
  readonly authorityKey: Uint8Array;
}

/** An exchange as one side sees it. */
interface Exchange {
  readonly ephemeralPrivateKey: Uint8Array;
  readonly ephemeralKey: Uint8Array;
  peerCertificate: Uint8Array | undefined;
  peerEphemeralKey: Uint8Array | undefined;
  keys: { readonly macKey: Uint8Array; readonly linkKey: Uint8Array } | undefined;
}

/**
 * The six messages by which a device that has joined and the trust centre make a link key of their certificates: certificates, keys drawn
 * for this exchange, confirmations, each from the device (client) first. They travel under the network key. Suite 1: the messages of
 * suite 2 do not fit into one frame. @see Smart Energy Annex C.3
 */
export class CertificateExchange {
  readonly #device: Device;
  readonly #identity: Identity;
  /** By the other side's short address. */
  readonly #open = new Map<number, Exchange>();
  #sequence = 0;
  #isEstablished = false;
  #attempts = 0;
  readonly #drawn: Uint8Array[] = [];

  constructor(device: Device, identity: Identity) {
    this.#device = device;
    this.#identity = identity;
  }

  /** What opens its exchanges, for those who shall read the recording. */
  get secrets(): CbkeSecrets {
    return { ...this.#identity, ephemeralPrivateKeys: this.#drawn };
  }

  /** Whether an answer of the trust centre is waited for. */
  get isWaiting(): boolean {
    return !this.#device.isCoordinator && this.#open.size > 0;
  }

  /** The device has joined anew, with the link key that it was made with. */
  reset(): void {
    this.#isEstablished = false;
    this.#attempts = 0;
    this.#open.clear();
  }

  /** A device that has the network key establishes a link key of its own. */
  begin(): void {
    if (this.#device.isCoordinator || this.#isEstablished || this.#attempts > 0) return;
    const { world, random } = this.#device;
    this.#attempts = 1;
    world.queue.after(firstWaitUs + random.below(firstWaitUs), () => this.#attempt());
  }

  #attempt(): void {
    const device = this.#device;
    if (this.#isEstablished) return;
    if (!device.isMember || this.#attempts > attemptsMax) {
      this.reset();
      return;
    }
    this.#attempts++;
    this.#open.set(centreAddress, this.#draw());
    this.#send(centreAddress, encodeInitiate(this.#next(), false, this.#identity.certificate));
    device.world.queue.after(exchangeUs, () => this.#attempt());
  }

  /** A message of the cluster has arrived. */
  receive({ payload, source, received }: ApsIndication): void {
    if (!received.secured) return;
    const message = decodeKeyEstablishment(payload, 0, payload.length);
    if (message.fromServer === this.#device.isCoordinator) return;
    if (message.fromServer) this.#receiveAnswer(message);
    else this.#answer(message, source);
  }

  /** The trust centre's part. */
  #answer(message: KeyEstablishmentCommand, source: number): void {
    if (message.kind === "initiate") {
      const exchange = this.#draw();
      exchange.peerCertificate = message.certificate.slice();
      const subject = this.#addressIn(exchange.peerCertificate);
      // A certificate speaks for one device, wherever it is.
      if (subject === undefined || this.#device.keyExchange.shortAddress(subject) !== source) return;
      this.#open.set(source, exchange);
      this.#send(source, encodeInitiate(this.#next(), true, this.#identity.certificate));
      return;
    }
    const exchange = this.#open.get(source);
    if (exchange === undefined) return;
    if (message.kind === "ephemeral-data") {
      this.#agree(exchange, message.key.slice());
      if (exchange.keys === undefined) return;
      this.#send(source, encodeEphemeralData(this.#next(), true, exchange.ephemeralKey));
    } else if (message.kind === "confirm-key" && exchange.keys !== undefined) {
      const { own, peer } = this.#parties(exchange);
      const { macKey, linkKey } = exchange.keys;
      const subject = this.#addressIn(exchange.peerCertificate);
      const isProved = isSame(message.mac, confirmation(macKey, "initiator", peer, own));
      if (!isProved || subject === undefined) {
        this.#device.note(`does not believe the certificate of 0x${source.toString(16)}`, "defence");
        return;
      }
      this.#send(
        source,
        encodeConfirmKeyData(this.#next(), true, confirmation(macKey, "responder", own, peer)),
      );
      this.#device.trustCentre?.linkKeyEstablished(subject, linkKey);
    }
  }

  /** The device's part. */
  #receiveAnswer(message: KeyEstablishmentCommand): void {
    const exchange = this.#open.get(centreAddress);
    if (exchange === undefined) return;
    if (message.kind === "initiate") {
      exchange.peerCertificate = message.certificate.slice();
      this.#send(centreAddress, encodeEphemeralData(this.#next(), false, exchange.ephemeralKey));
    } else if (message.kind === "ephemeral-data") {
      this.#agree(exchange, message.key.slice());
      if (exchange.keys === undefined) return;
      const { own, peer } = this.#parties(exchange);
      const mac = confirmation(exchange.keys.macKey, "initiator", own, peer);
      this.#send(centreAddress, encodeConfirmKeyData(this.#next(), false, mac));
    } else if (message.kind === "confirm-key" && exchange.keys !== undefined) {
      const { own, peer } = this.#parties(exchange);
      const { macKey, linkKey } = exchange.keys;
      if (!isSame(message.mac, confirmation(macKey, "responder", peer, own))) return;
      this.#open.delete(centreAddress);
      this.#isEstablished = true;
      this.#device.joiner.keyEstablished(linkKey);
      this.#device.note("has established a link key by certificates");
    }
  }

  #draw(): Exchange {
    const ephemeralPrivateKey = drawPrivateKey((count) => this.#device.random.bytes(count));
    this.#drawn.push(ephemeralPrivateKey);
    const ephemeralKey = publicKey(cbkeSuite1.curve, ephemeralPrivateKey) ?? new Uint8Array(0);
    return {
      ephemeralPrivateKey,
      ephemeralKey,
      peerCertificate: undefined,
      peerEphemeralKey: undefined,
      keys: undefined,
    };
  }

  #agree(exchange: Exchange, peerEphemeralKey: Uint8Array): void {
    const { privateKey, authorityKey } = this.#identity;
    const { peerCertificate, ephemeralPrivateKey } = exchange;
    if (peerCertificate === undefined) return;
    exchange.peerEphemeralKey = peerEphemeralKey;
    const peerKey = certificateKey(cbkeSuite1, peerCertificate, authorityKey);
    if (peerKey === undefined) return;
    const secret = mqvSecret(cbkeSuite1.curve, {
      privateKey,
      ephemeralPrivateKey,
      peerKey,
      peerEphemeralKey,
    });
    exchange.keys = secret === undefined ? undefined : cbkeKeys(secret);
  }

  /** Both sides as confirmations name them. */
  #parties({ ephemeralKey, peerCertificate, peerEphemeralKey }: Exchange): {
    readonly own: CbkeParty;
    readonly peer: CbkeParty;
  } {
    const nothing = new Uint8Array(0);
    const subject = (certificate: Uint8Array): Uint8Array =>
      certificateSubject(cbkeSuite1, certificate) ?? nothing;
    return {
      own: { address: subject(this.#identity.certificate), ephemeralKey },
      peer: { address: subject(peerCertificate ?? nothing), ephemeralKey: peerEphemeralKey ?? nothing },
    };
  }

  #addressIn(certificate: Uint8Array | undefined): Eui64 | undefined {
    const subject = certificate === undefined ? undefined : certificateSubject(cbkeSuite1, certificate);
    return subject === undefined ? undefined : eui64At(subject.toReversed(), 0);
  }

  #send(destination: number, payload: Uint8Array): void {
    const { aps, membership } = this.#device;
    aps.send({
      destination,
      destinationEndpoint: endpoint,
      sourceEndpoint: endpoint,
      cluster: keyEstablishmentCluster,
      profile: smartEnergyProfile,
      payload,
      acknowledged: true,
    });
    membership.polling.expectAnswer();
  }

  #next(): number {
    this.#sequence = (this.#sequence + 1) & 0xff;
    return this.#sequence;
  }
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
