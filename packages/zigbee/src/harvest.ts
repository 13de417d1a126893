import { ApsCommandId, isNetworkKeyType } from "./aps/aps-command.ts";
import { isWhole } from "./capture/captured-frame.ts";
import { type Dissection } from "./dissection.ts";
import { type Eui64 } from "./eui64.ts";
import { decodeGreenPowerCommissioning, greenPowerCommissioning } from "./green-power/commissioning.ts";
import { CbkeHarvester, type CbkeSecrets } from "./key-establishment/cbke-harvester.ts";
import { keyEstablishmentCluster } from "./key-establishment/key-establishment-command.ts";
import { type Keyring, type KeyOrigin } from "./keyring.ts";
import { touchlinkKeys } from "./known-keys.ts";
import { establishSkke } from "./security/skke.ts";
import { decryptTouchlinkKey } from "./security/touchlink-key.ts";
import { decodeTouchlinkCommand, touchlinkCluster } from "./touchlink/touchlink-command.ts";

/** Transactions and exchanges that are remembered while they last. */
const openExchangesMax = 256;

/** Whether all bytes are 0, as in the Transport Key that says "you have the key already". @see Zigbee §4.6.3.2.2.1 */
function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

function remember<K, V>(map: Map<K, V>, key: K, value: V): void {
  if (map.size >= openExchangesMax) map.clear();
  map.set(key, value);
}

/**
 * Takes keys out of what goes by: Transport Key in clear or under a key that is known, touchlink, SKKE under a master key that is
 * known, and CBKE where the secrets of one side are. Frames go through it in the order of the capture.
 */
export class Harvester {
  readonly #keyring: Keyring;
  /** Response identifier by transaction identifier. */
  readonly #touchlinks = new Map<number, number>();
  readonly #challenges = new Map<string, Uint8Array>();
  readonly #cbke: CbkeHarvester | undefined;

  /** `cbkeSecrets`: of devices that establish keys by certificates. */
  constructor(keyring: Keyring, cbkeSecrets: readonly CbkeSecrets[] = []) {
    this.#keyring = keyring;
    this.#cbke = cbkeSecrets.length === 0 ? undefined : new CbkeHarvester(cbkeSecrets);
  }

  /** Adds to the keyring what `dissection` gives away. A frame with a wrong check sequence gives nothing. */
  take(dissection: Dissection): void {
    if (!isWhole(dissection.frame)) return;
    if (dissection.protocol === "inter-pan") this.#touchlink(dissection);
    else if (dissection.protocol === "green-power") this.#greenPower(dissection);
    else if (dissection.apsCommand !== undefined) this.#apsCommand(dissection);
    else if (dissection.aps?.cluster === keyEstablishmentCluster) {
      const linkKey = this.#cbke?.take(dissection);
      const { number: frame } = dissection.frame;
      if (linkKey !== undefined) this.#keyring.add(linkKey, "link", { kind: "key-establishment", frame });
    }
  }

  #apsCommand(dissection: Dissection): void {
    const command = dissection.apsCommand;
    if (command?.kind === "skke") {
      const { id, initiator, responder, data } = command;
      if (initiator === undefined || responder === undefined || data.length !== 16) return;
      const pair = `${initiator} ${responder}`;
      if (id === ApsCommandId.skke1) remember(this.#challenges, pair, data.slice());
      else if (id === ApsCommandId.skke2) this.#establish(dissection, initiator, responder, data);
      return;
    }
    if (command?.kind !== "transport-key" || command.key.length !== 16 || isZero(command.key)) return;
    const use = isNetworkKeyType(command.keyType) ? "network" : "link";
    this.#keyring.add(command.key, use, transportOrigin(dissection));
  }

  #establish(
    dissection: Dissection,
    initiator: Eui64,
    responder: Eui64,
    responderChallenge: Uint8Array,
  ): void {
    const initiatorChallenge = this.#challenges.get(`${initiator} ${responder}`);
    if (initiatorChallenge === undefined) return;
    const origin: KeyOrigin = { kind: "key-establishment", frame: dissection.frame.number };
    // Which of the keys is the master key of the pair nobody says; a wrong link key opens nothing.
    for (const key of [...this.#keyring.keys("link")].filter(isMasterCandidate).slice(-8)) {
      const exchange = { initiator, responder, initiatorChallenge, responderChallenge };
      const { linkKey } = establishSkke({ masterKey: key.reveal(), ...exchange });
      this.#keyring.add(linkKey, "link", origin);
    }
  }

  #greenPower({ greenPower, macPayload, frame }: Dissection): void {
    if (greenPower?.command !== greenPowerCommissioning) return;
    const { payloadStart, payloadEnd } = greenPower;
    const { key, isKeyEncrypted } = decodeGreenPowerCommissioning(macPayload, payloadStart, payloadEnd);
    if (key === undefined || isKeyEncrypted) return;
    this.#keyring.add(key, "green-power", {
      kind: "clear-transport",
      frame: frame.number,
      networkSecured: false,
    });
  }

  #touchlink(dissection: Dissection): void {
    const { aps, apsPayload, apsPayloadStart, apsPayloadEnd } = dissection;
    if (aps?.cluster !== touchlinkCluster || apsPayload === undefined) return;
    const command = decodeTouchlinkCommand(apsPayload, apsPayloadStart, apsPayloadEnd);
    const { transactionId, encryptedKey } = command;
    if (command.responseId !== -1) remember(this.#touchlinks, transactionId, command.responseId);
    const responseId = this.#touchlinks.get(transactionId);
    const master = touchlinkKeys.get(command.keyIndex);
    if (encryptedKey === undefined || responseId === undefined || master === undefined) return;
    const key = decryptTouchlinkKey(Buffer.from(master, "hex"), { transactionId, responseId }, encryptedKey);
    this.#keyring.add(key, "network", { kind: "touchlink", frame: dissection.frame.number });
  }
}

function isMasterCandidate({ origin }: { readonly origin: KeyOrigin }): boolean {
  return origin.kind === "given" || origin.kind === "clear-transport" || origin.kind === "transport";
}

/** How the key of a Transport Key came to be known. */
function transportOrigin({ frame, apsKey, nwkProtection }: Dissection): KeyOrigin {
  if (apsKey !== undefined) return { kind: "transport", frame: frame.number, under: apsKey };
  return { kind: "clear-transport", frame: frame.number, networkSecured: nwkProtection === "opened" };
}
