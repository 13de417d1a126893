import { ApsFrameType } from "@postern/zigbee/aps/aps-frame";
import { type Dissection } from "@postern/zigbee/dissection";
import { MacCommandId } from "@postern/zigbee/mac/mac-command";
import { MacFrameType } from "@postern/zigbee/mac/mac-frame";
import { decodeNwkCommand, nwkCommandNames } from "@postern/zigbee/nwk/nwk-command";
import { type NwkFrame, NwkFrameType } from "@postern/zigbee/nwk/nwk-frame";
import { securityLevel } from "@postern/zigbee/security/levels";
import { zdpName, zdpProfile } from "@postern/zigbee/zdp/zdp-frame";
import { decodeZclFrame, zclCommandName } from "@postern/zigbee/zcl/zcl-frame";

import { type AuditContext, type Detector, hex16, networkName, setBounded } from "./context.ts";
import { type IdentityDetector } from "./identity.ts";
import { SlidingWindow } from "./sliding-window.ts";

/** Unprotected application frames that show that a network has no security, when none of its frames is protected. */
const plainFramesMin = 5;
/** Wrong integrity codes that are worth a finding: fewer can be another network with the same PAN id. */
const wrongCodesMin = 3;
/** Frames that one device must reject within ten seconds to be kept busy with it. */
const ghostFramesMin = 20;
const ghostWindowUs = 10_000_000;
/** Frames that a device must reject right after it has asked for some: somebody waits for it to be awake. */
const lurkingMin = 3;
const lurkingUs = 50_000;
const lurkingWindowUs = 300_000_000;
const devicesMax = 10_000;
/** Of a message in several parts, one that is not the first. @see Zigbee §2.2.5.1.8 */
const laterPart = 2;

/** Looks at whether and how frames are protected. @see thesis 6.5, 6.6; Zigbee §4.3 */
export class ProtectionDetector implements Detector {
  readonly #context: AuditContext;
  readonly #identities: Pick<IdentityDetector, "isMember" | "hasSpoken">;
  readonly #levels = new Set<string>();
  readonly #rejected = new Map<string, SlidingWindow<number>>();
  /** When a device asked its parent for frames, by its short address, and what it then had to reject. */
  readonly #polls = new Map<number, number>();
  readonly #lurking = new Map<
    string,
    { readonly all: SlidingWindow<number>; readonly afterPoll: SlidingWindow<number> }
  >();
  readonly #plain = new Map<number, number>();
  readonly #wrong = new Map<number, number>();

  /** `identities`: knows who has spoken with a key before. */
  constructor(context: AuditContext, identities: Pick<IdentityDetector, "isMember" | "hasSpoken">) {
    this.#context = context;
    this.#identities = identities;
  }

  see(dissection: Dissection, pan: number): void {
    if (dissection.protocol === "mac") this.#seePoll(dissection, pan);
    if (dissection.protocol !== "zigbee" || dissection.nwk === undefined) return;
    if (dissection.nwkProtection === "none") this.#seePlain(dissection, pan);
    else if (dissection.nwkProtection === "opened") this.#seeLevel(dissection, pan);
    else this.#seeUnopened(dissection, pan);
  }

  #seePoll({ mac, macPayload, macPayloadStart, frame }: Dissection, pan: number): void {
    if (mac.frameType !== MacFrameType.command || macPayload[macPayloadStart] !== MacCommandId.dataRequest)
      return;
    if (mac.sourceShort !== -1)
      setBounded(this.#polls, pan * 0x10000 + mac.sourceShort, frame.timeUs, devicesMax);
  }

  #seePlain(dissection: Dissection, pan: number): void {
    const { nwk, aps } = dissection;
    if (nwk?.frameType === NwkFrameType.command) this.#seePlainCommand(dissection, nwk, pan);
    const isApplication =
      nwk?.frameType === NwkFrameType.data &&
      nwk.stopped === undefined &&
      aps?.frameType === ApsFrameType.data &&
      aps.stopped === undefined &&
      !aps.security;
    if (!isApplication) return;
    const fields = {
      source: this.#context.deviceName(pan, nwk.sourceShort),
      destination: this.#context.deviceName(pan, nwk.destinationShort),
      nwkSecurity: "off",
      ...applicationFields(dissection),
    };
    if (this.#context.facts.isProtected(pan)) {
      this.#context.add("ZB-UNSECURED-DATA", networkName(pan), dissection, {
        confidence: "probable",
        summary: (count) =>
          `${count} ${count === 1 ? "frame" : "frames"} without NWK security, while the others have it`,
        fields,
      });
      return;
    }
    const plain = (this.#plain.get(pan) ?? 0) + 1;
    setBounded(this.#plain, pan, plain, devicesMax);
    if (plain < plainFramesMin) return;
    this.#context.add("ZB-SECURITY-OFF", networkName(pan), dissection, {
      confidence: "certain",
      summary: "no frame of the network has NWK security",
      fields,
    });
  }

  /** Who joins, and who is sent away before having the key, cannot be spoken to with it. @see Zigbee §3.6.1.4, §4.6.3.6 */
  #seePlainCommand(dissection: Dissection, nwk: NwkFrame, pan: number): void {
    const { nwkPayload, nwkPayloadStart, nwkPayloadEnd } = dissection;
    if (nwkPayload === undefined || !this.#context.facts.isProtected(pan)) return;
    const command = decodeNwkCommand(nwkPayload, nwkPayloadStart, nwkPayloadEnd);
    const name = nwkCommandNames[command.id];
    if (name === undefined || command.stopped !== undefined) return;
    if (command.kind === "rejoin-request" || command.kind === "rejoin-response") return;
    if (command.kind === "leave" && !this.#identities.isMember(pan, nwk.destinationShort)) return;
    this.#context.add("ZB-UNSECURED-DATA", networkName(pan), dissection, {
      confidence: "probable",
      summary: (count) =>
        `${count} ${count === 1 ? "frame" : "frames"} without NWK security, while the others have it`,
      fields: {
        source: this.#context.deviceName(pan, nwk.sourceShort),
        destination: this.#context.deviceName(pan, nwk.destinationShort),
        nwkSecurity: "off",
        command: name,
      },
    });
  }

  #seeLevel(dissection: Dissection, pan: number): void {
    const level = securityLevel(dissection.nwkLevel);
    if (level.encrypted && level.micBytes > 0) return;
    const seen = `${pan} ${dissection.nwkLevel}`;
    if (this.#levels.has(seen)) return;
    this.#levels.add(seen);
    this.#context.add("ZB-LEVEL-LOW", networkName(pan), dissection, {
      confidence: "certain",
      summary: `the network uses level ${dissection.nwkLevel} (${level.name})`,
      fields: { level: dissection.nwkLevel, name: level.name },
    });
  }

  #seeUnopened(dissection: Dissection, pan: number): void {
    const { nwk, frame } = dissection;
    const { facts } = this.#context;
    const sequence = nwk?.auxiliary?.keySequence ?? -1;
    if (nwk === undefined || !facts.isOpened(pan, sequence)) return;
    const destination = this.#context.deviceName(pan, nwk.destinationShort);
    const fields = {
      source: nwk.auxiliary?.source,
      destination,
      frameCounter: nwk.auxiliary?.frameCounter,
      keySequence: sequence,
      integrityCode: "wrong",
    };
    const wrong = (this.#wrong.get(pan) ?? 0) + 1;
    setBounded(this.#wrong, pan, wrong, devicesMax);
    if (wrong >= wrongCodesMin) {
      this.#context.add("ZB-MIC-FAILED", networkName(pan), dissection, {
        confidence: "possible",
        summary: () => `${this.#wrong.get(pan) ?? wrong} frames are not what the network key makes of them`,
        fields,
      });
    }
    if (!facts.hasTimeBase) return;
    // Who was never heard with the right key may be of another network that has the same PAN id.
    const isMember = nwk.auxiliary?.source !== undefined && this.#identities.hasSpoken(nwk.auxiliary.source);
    const confidence = isMember ? "probable" : "possible";
    const target = `device ${destination} in ${networkName(pan)}`;
    const window = this.#rejected.get(target) ?? new SlidingWindow<number>(ghostWindowUs);
    setBounded(this.#rejected, target, window, devicesMax);
    window.add(frame.timeUs, frame.number);
    if (window.size >= ghostFramesMin) {
      this.#context.add("ZB-GHOST", target, dissection, {
        confidence,
        summary: `${window.size} frames within ten seconds that the device must reject`,
        fields,
      });
      return;
    }
    const lurk = this.#lurking.get(target) ?? {
      all: new SlidingWindow<number>(lurkingWindowUs),
      afterPoll: new SlidingWindow<number>(lurkingWindowUs),
    };
    setBounded(this.#lurking, target, lurk, devicesMax);
    lurk.all.add(frame.timeUs, frame.number);
    const pollUs = this.#polls.get(pan * 0x10000 + nwk.destinationShort);
    if (pollUs === undefined || frame.timeUs < pollUs || frame.timeUs - pollUs > lurkingUs) return;
    lurk.afterPoll.add(frame.timeUs, frame.number);
    const { size } = lurk.afterPoll;
    // What comes at any time hits the moment after a poll now and then.
    if (size < lurkingMin || 2 * size < lurk.all.size) return;
    this.#context.add("ZB-GHOST", target, dissection, {
      confidence,
      summary: `${size} times within five minutes the device asked for frames and got one that it must reject`,
      fields,
    });
  }
}

/** What an application frame says, as fields of evidence. */
export function applicationFields({
  aps,
  apsPayload,
  apsPayloadStart,
  apsPayloadEnd,
}: Dissection): Record<string, string | undefined> {
  if (aps === undefined || apsPayload === undefined) return {};
  const profile = hex16(Math.max(0, aps.profile));
  // The header of a message stands in its first part only.
  if (aps.fragmentation === laterPart) return { profile };
  if (aps.profile === zdpProfile) return { profile, command: `ZDP ${zdpName(aps.cluster)}` };
  const zcl = decodeZclFrame(apsPayload, apsPayloadStart, apsPayloadEnd);
  return { profile, command: zcl.stopped === undefined ? zclCommandName(aps.cluster, zcl) : undefined };
}
