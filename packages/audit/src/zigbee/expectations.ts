import { isNetworkKeyType } from "@postern/zigbee/aps/aps-command";
import { type Dissection } from "@postern/zigbee/dissection";
import { type Eui64 } from "@postern/zigbee/eui64";
import { type ZigbeeKey } from "@postern/zigbee/keyring";

import { type AuditContext, type Detector, networkName } from "./context.ts";

/** What the owner of the networks says there should be. */
export interface Expectations {
  /** Networks that are theirs; `undefined`: all in the capture. */
  readonly pans: ReadonlySet<number> | undefined;
  /** Devices that may be in them; `undefined`: any. */
  readonly devices: ReadonlySet<Eui64> | undefined;
  /** Fingerprints of their network keys; `undefined`: any. */
  readonly keys: ReadonlySet<string> | undefined;
}

const reportedMax = 10_000;

/** Looks for devices and keys that are not expected. @see thesis 6.7, OWASP ISVS V4.5.8 */
export class ExpectationDetector implements Detector {
  readonly #context: AuditContext;
  readonly #expected: Expectations;
  readonly #reported = new Set<string>();
  readonly #judged = new Set<ZigbeeKey>();

  constructor(context: AuditContext, expected: Expectations) {
    this.#context = context;
    this.#expected = expected;
  }

  see(dissection: Dissection, pan: number): void {
    const { pans } = this.#expected;
    if (pans !== undefined && !pans.has(pan)) return;
    // Only who holds the network key is in the network: addresses alone anybody can invent.
    const { nwkKey, nwk, apsCommand } = dissection;
    if (nwkKey !== undefined) {
      this.#seeKey(dissection, nwkKey, pan);
      if (nwk?.auxiliary?.source !== undefined) {
        this.#seeDevice(dissection, nwk.auxiliary.source, pan, "speaks with the network key");
      }
    }
    if (apsCommand?.kind !== "transport-key" || !isNetworkKeyType(apsCommand.keyType)) return;
    const { destination } = apsCommand;
    // All zeros and all ones are no device: the key is for whoever listens.
    if (destination === undefined || /^(00|ff)(:\1){7}$/.test(destination)) return;
    this.#seeDevice(dissection, destination, pan, "was given the network key");
  }

  #seeDevice(dissection: Dissection, device: Eui64, pan: number, how: string): void {
    const { devices } = this.#expected;
    if (devices === undefined || devices.has(device)) return;
    const subject = `device ${device} in ${networkName(pan)}`;
    if (this.#reported.has(subject) || this.#reported.size >= reportedMax) return;
    this.#reported.add(subject);
    this.#context.add("ZB-UNKNOWN-DEVICE", subject, dissection, {
      confidence: "certain",
      summary: `a device that the inventory does not name ${how}`,
      fields: { device },
    });
  }

  #seeKey(dissection: Dissection, key: ZigbeeKey, pan: number): void {
    const { keys } = this.#expected;
    if (keys === undefined || this.#judged.has(key)) return;
    this.#judged.add(key);
    if (keys.has(key.fingerprint)) return;
    this.#context.add("ZB-UNEXPECTED-KEY", networkName(pan), dissection, {
      confidence: "certain",
      summary: "frames are protected with a network key that the inventory does not name",
      fields: { key: this.#context.keyName(key) },
    });
  }
}
