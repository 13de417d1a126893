import { type Dissection } from "@postern/zigbee/dissection";
import { type Eui64 } from "@postern/zigbee/eui64";
import { type ZigbeeKey } from "@postern/zigbee/keyring";

import { type AuditContext, type Detector, hex16, networkName, setBounded } from "./context.ts";

const addressesMax = 65_536;

/** Who speaks under a short address. */
interface Speaker {
  now: Eui64;
  /** Who spoke under it before. */
  before: Eui64 | undefined;
}

/**
 * Looks for two devices that speak in turn under one short address, with the right key: one of them is not who it says it is.
 * @see thesis 6.6 Key storage
 */
export class IdentityDetector implements Detector {
  readonly #context: AuditContext;
  /** By key as well: two networks may have one PAN id, and a coordinator of the same address each. */
  readonly #speakers = new Map<ZigbeeKey, Map<number, Speaker>>();

  readonly #devices = new Set<Eui64>();

  constructor(context: AuditContext) {
    this.#context = context;
  }

  /** Whether that device has spoken with a network key that is known. */
  hasSpoken(device: Eui64): boolean {
    return this.#devices.has(device);
  }

  /** Whether somebody with a network key has spoken under that address. */
  isMember(pan: number, short: number): boolean {
    const at = pan * 0x10000 + short;
    return [...this.#speakers.values()].some((speakers) => speakers.has(at));
  }

  see(dissection: Dissection, pan: number): void {
    const { nwk, mac, nwkKey } = dissection;
    const source = nwk?.auxiliary?.source;
    if (nwkKey === undefined || source === undefined || mac.sourceShort === -1) return;
    const at = pan * 0x10000 + mac.sourceShort;
    let speakers = this.#speakers.get(nwkKey);
    if (speakers === undefined) this.#speakers.set(nwkKey, (speakers = new Map()));
    const speaker = speakers.get(at);
    if (speaker?.now !== source && this.#devices.size < addressesMax) this.#devices.add(source);
    if (speaker === undefined) {
      setBounded(speakers, at, { now: source, before: undefined }, addressesMax);
      return;
    }
    if (speaker.now === source) return;
    // An address that is given to somebody else changes hands once; it does not come back.
    const isBack = speaker.before === source;
    speaker.before = speaker.now;
    speaker.now = source;
    if (!isBack) return;
    const short = hex16(mac.sourceShort);
    this.#context.add("ZB-IDENTITY", `address ${short} in ${networkName(pan)}`, dissection, {
      confidence: "probable",
      summary: (count) =>
        `two devices with the network key speak in turn under one address (${count} ${count === 1 ? "change" : "changes"})`,
      fields: { shortAddress: short, source, other: speaker.before },
    });
  }
}
