import { type Eui64 } from "@postern/zigbee/eui64";
import { IncomingCounters, OutgoingCounter } from "@postern/zigbee/key-life/frame-counters";
import { type NetworkKeys } from "@postern/zigbee/key-life/network-keys";
import { type NwkFrame } from "@postern/zigbee/nwk/nwk-frame";
import { KeyIdentifier } from "@postern/zigbee/security/auxiliary-header";
import { openFrame, sealFrame } from "@postern/zigbee/security/frame-protection";
import { securityLevel } from "@postern/zigbee/security/levels";

import { type StackSettings } from "../settings.ts";

/** Work of the processor to look at a counter, and to check an integrity code. */
const counterWorkUs = 100;
const codeWorkUs = 2_000;

/** Why a received frame was dropped. */
export type Rejection = "stale" | "integrity" | "no-key" | "unsecured" | "counter";

/** A NWK frame whose protection was taken off, or that had none. */
export interface Opened {
  readonly payload: Uint8Array;
  readonly secured: boolean;
  readonly protectedBy: Eui64 | undefined;
}

/** Protects the NWK frames of one device and takes the protection off those of others. @see thesis 6.5, Zigbee §4.3 */
export class NwkSecurity {
  readonly outgoing = new OutgoingCounter();
  readonly incoming: IncomingCounters;
  readonly #address: Eui64;
  readonly #keys: () => NetworkKeys;
  readonly #stack: StackSettings;
  readonly #work: (durationUs: number) => void;

  /** `work` is told how long the processor is busy with it. */
  constructor(parts: {
    readonly address: Eui64;
    readonly keys: () => NetworkKeys;
    readonly stack: StackSettings;
    readonly work: (durationUs: number) => void;
  }) {
    this.#address = parts.address;
    this.#keys = parts.keys;
    this.#stack = parts.stack;
    this.#work = parts.work;
    this.incoming = new IncomingCounters({
      sendersMax: 64,
      jumpMax: parts.stack.counterJumpMax,
      checked: parts.stack.checksFreshness,
    });
  }

  /** The payload of a frame, or why it is to be dropped. @see Zigbee §4.3.1.2 */
  open(bytes: Uint8Array, nwk: NwkFrame): Opened | Rejection {
    const plain = bytes.slice(nwk.payloadStart, nwk.payloadEnd);
    if (!nwk.security) return { payload: plain, secured: false, protectedBy: undefined };
    const { auxiliary } = nwk;
    const keys = this.#keys();
    const key = auxiliary === undefined ? undefined : keys.find(auxiliary.keySequence);
    if (auxiliary?.source === undefined || key === undefined) return "no-key";
    this.#work(counterWorkUs);
    const isActive = key === keys.active;
    const refusal = isActive ? this.incoming.refusal(auxiliary.source, auxiliary.frameCounter) : undefined;
    if (refusal !== undefined) return refusal === "stale" ? "stale" : "counter";
    this.#work(codeWorkUs);
    const level = this.#stack.securityLevel;
    const payload = openFrame(bytes, nwk, { key: key.schedule, level });
    if (payload === undefined) return "integrity";
    // Who missed the switch learns of it by the first frame under the new key.
    const isNext = keys.active !== undefined && ((key.sequence - keys.active.sequence) & 0xff) === 1;
    if (!isActive && isNext && securityLevel(level).micBytes > 0) this.switchKey(key.sequence);
    if (keys.active === key) this.incoming.accept(auxiliary.source, auxiliary.frameCounter);
    return { payload, secured: true, protectedBy: auxiliary.source };
  }

  /** Takes a waiting network key into use; counters begin anew. */
  switchKey(sequence: number): void {
    if (!this.#keys().switchTo(sequence)) return;
    this.outgoing.reset();
    this.incoming.forget();
  }

  /** A frame as it is sent; `undefined` when there is no key, or the counter is at its end: the device is mute. */
  seal(header: Uint8Array, payload: Uint8Array): Uint8Array | undefined {
    const { active } = this.#keys();
    const frameCounter = active === undefined ? undefined : this.outgoing.take();
    if (active === undefined || frameCounter === undefined) return undefined;
    return sealFrame(header, payload, {
      key: active.schedule,
      keyIdentifier: KeyIdentifier.networkKey,
      keySequence: active.sequence,
      level: this.#stack.securityLevel,
      source: this.#address,
      frameCounter,
    });
  }
}
