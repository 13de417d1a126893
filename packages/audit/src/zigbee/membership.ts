import { type Dissection } from "@postern/zigbee/dissection";
import { type Eui64 } from "@postern/zigbee/eui64";
import { decodeBeacon } from "@postern/zigbee/mac/beacon";
import { decodeMacCommand, type MacCommand, MacCommandId } from "@postern/zigbee/mac/mac-command";
import { MacFrameType } from "@postern/zigbee/mac/mac-frame";
import { decodeNwkCommand } from "@postern/zigbee/nwk/nwk-command";
import { NwkFrameType } from "@postern/zigbee/nwk/nwk-frame";
import { decodeZdpFrame, ZdpCluster, zdpProfile } from "@postern/zigbee/zdp/zdp-frame";

import { type Evidence } from "../finding.ts";
import { type AuditContext, type Detector, hex16, networkName, setBounded } from "./context.ts";
import { SlidingWindow } from "./sliding-window.ts";

/** Devices that ask to join within ten seconds and never hear an answer, until it counts as a flood. */
const floodDevicesMin = 10;
const floodWindowUs = 10_000_000;
/** Times that joining is opened within a minute, until it counts as kept open. */
const openingsMin = 3;
const openingsWindowUs = 60_000_000;
const conflictsMin = 3;
const orphansMax = 1_000;
const networksMax = 1_024;

/** An association request that no answer was seen to. */
interface Request {
  readonly device: Eui64;
  readonly evidence: Evidence;
}

/** What is followed of one network. */
interface Membership {
  readonly requests: SlidingWindow<Request>;
  readonly openings: SlidingWindow<Evidence>;
  /** Every router on their way sends a message again. */
  readonly seenMessages: Set<string>;
  readonly orphans: Set<Eui64>;
  /** The first beacon of each extended PAN id. */
  readonly extendedPans: Map<Eui64, number>;
  conflicts: number;
}

/** Looks at who joins, leaves and is told to. @see thesis 6.6; IEEE 802.15.4-2006 §7.3, Zigbee §3.6.1 */
export class MembershipDetector implements Detector {
  readonly #context: AuditContext;
  readonly #networks = new Map<number, Membership>();

  constructor(context: AuditContext) {
    this.#context = context;
  }

  see(dissection: Dissection, pan: number): void {
    const { mac, protocol } = dissection;
    if (protocol === "zigbee") this.#seeZigbee(dissection, pan);
    else if (mac.frameType === MacFrameType.beacon) this.#seeBeacon(dissection, pan);
    else if (mac.frameType === MacFrameType.command) {
      const { macPayload, macPayloadStart, macPayloadEnd } = dissection;
      const command = decodeMacCommand(macPayload, macPayloadStart, macPayloadEnd);
      if (command.stopped === undefined) this.#seeCommand(dissection, pan, command);
    }
  }

  #membership(pan: number): Membership {
    const found = this.#networks.get(pan);
    if (found !== undefined) return found;
    const added: Membership = {
      requests: new SlidingWindow(floodWindowUs),
      openings: new SlidingWindow(openingsWindowUs),
      seenMessages: new Set(),
      orphans: new Set(),
      extendedPans: new Map(),
      conflicts: 0,
    };
    setBounded(this.#networks, pan, added, networksMax);
    return added;
  }

  #seeCommand(dissection: Dissection, pan: number, command: MacCommand): void {
    const { mac } = dissection;
    const membership = this.#membership(pan);
    switch (command.id) {
      case MacCommandId.associationRequest:
        if (mac.source !== undefined) this.#seeRequest(dissection, pan, mac.source);
        break;
      case MacCommandId.associationResponse:
        membership.requests.drop(({ device }) => device === mac.destination);
        break;
      case MacCommandId.disassociationNotification:
        this.#context.add("ZB-DISASSOCIATION", networkName(pan), dissection, {
          confidence: "probable",
          summary: (count) =>
            `${count} MAC disassociation ${count === 1 ? "notification" : "notifications"}, which anybody can send`,
          fields: {
            command: "disassociation notification",
            reason:
              command.reason === 1
                ? "the coordinator wishes the device to leave"
                : command.reason === 2
                  ? "the device wishes to leave"
                  : command.reason,
            source: mac.source ?? hex16(mac.sourceShort & 0xffff),
            destination: mac.destination ?? hex16(mac.destinationShort & 0xffff),
          },
        });
        break;
      case MacCommandId.orphanNotification:
        if (mac.source === undefined) break;
        if (membership.orphans.size >= orphansMax) membership.orphans.clear();
        membership.orphans.add(mac.source);
        break;
      case MacCommandId.coordinatorRealignment:
        if (mac.destination !== undefined && membership.orphans.has(mac.destination)) break;
        this.#context.add("ZB-REALIGNMENT", networkName(pan), dissection, {
          confidence: "probable",
          summary: (count) =>
            `${count} coordinator ${count === 1 ? "realignment" : "realignments"} that no orphan had asked for`,
          fields: {
            command: "coordinator realignment",
            newPan: hex16(command.pan),
            newChannel: command.channel,
            destination: mac.destination ?? hex16(mac.destinationShort & 0xffff),
          },
        });
        break;
      case MacCommandId.panIdConflictNotification:
        this.#seeConflict(dissection, pan, "MAC PAN id conflict notification");
        break;
      default:
        break;
    }
  }

  #seeRequest(dissection: Dissection, pan: number, device: Eui64): void {
    // Without times there is no rate.
    if (!this.#context.facts.hasTimeBase) return;
    const { requests } = this.#membership(pan);
    const evidence = this.#context.evidence(dissection, { command: "association request", source: device });
    requests.add(evidence.timeUs, { device, evidence });
    const waiting = requests.values();
    const devices = new Set(waiting.map((request) => request.device));
    if (devices.size < floodDevicesMin) return;
    // The requests that made up the number belong to the flood as well as those that follow.
    const reported = devices.size === floodDevicesMin ? waiting : waiting.slice(-1);
    for (const request of reported) {
      this.#context.addEvidence("ZB-ASSOCIATION-FLOOD", networkName(pan), request.evidence, {
        confidence: "probable",
        summary: (count) =>
          `${count} association requests without an answer, ${devices.size} devices within ten seconds`,
      });
    }
  }

  #seeBeacon(dissection: Dissection, pan: number): void {
    const { mac, frame } = dissection;
    const beacon = decodeBeacon(frame.bytes, mac.payloadStart, mac.payloadEnd);
    if (beacon.zigbee === undefined || beacon.stopped !== undefined) return;
    const { extendedPan } = beacon.zigbee;
    // Not a name: the network has none yet (Zigbee §3.6.1.1).
    if (/^(00|ff)(:\1){7}$/.test(extendedPan)) return;
    const { extendedPans } = this.#membership(pan);
    if (!extendedPans.has(extendedPan)) setBounded(extendedPans, extendedPan, frame.number, 64);
    if (extendedPans.size < 2) return;
    this.#context.add("ZB-TRAP-NETWORK", networkName(pan), dissection, {
      confidence: "probable",
      summary: `${extendedPans.size} extended PAN ids under one PAN id: ${[...extendedPans.keys()].join(", ")}`,
      fields: {
        extendedPan,
        source: hex16(mac.sourceShort & 0xffff),
        associationPermit: beacon.associationPermit ? "yes" : "no",
        stackProfile: beacon.zigbee.stackProfile,
      },
    });
  }

  #seeZigbee(dissection: Dissection, pan: number): void {
    const { nwk, aps } = dissection;
    if (nwk === undefined || dissection.nwkPayload === undefined) return;
    if (nwk.frameType === NwkFrameType.command) {
      const command = decodeNwkCommand(
        dissection.nwkPayload,
        dissection.nwkPayloadStart,
        dissection.nwkPayloadEnd,
      );
      if (command.kind === "network-report" && this.#isNew(pan, `report ${nwk.sourceShort} ${nwk.sequence}`))
        this.#seeConflict(dissection, pan, "NWK report of a PAN id conflict");
      if (command.kind === "rejoin-request" && !nwk.security && command.stopped === undefined) {
        this.#context.add("ZB-REJOIN-UNSECURED", networkName(pan), dissection, {
          confidence: "probable",
          summary: (count) => `${count} rejoin ${count === 1 ? "request" : "requests"} without NWK security`,
          fields: {
            command: "rejoin request",
            source: nwk.source ?? this.#context.deviceName(pan, nwk.sourceShort),
          },
        });
      }
      return;
    }
    if (aps?.profile === zdpProfile && aps.cluster === ZdpCluster.mgmtPermitJoiningRequest) {
      this.#seePermitJoining(dissection, pan);
    }
  }

  #seePermitJoining(dissection: Dissection, pan: number): void {
    const { nwk, aps, apsPayload, apsPayloadStart, apsPayloadEnd, frame } = dissection;
    if (nwk === undefined || aps === undefined || apsPayload === undefined) return;
    const zdp = decodeZdpFrame(aps.cluster, apsPayload, apsPayloadStart, apsPayloadEnd);
    if (zdp.kind !== "permit-joining" || zdp.stopped !== undefined || zdp.seconds === 0) return;
    const { openings } = this.#membership(pan);
    if (!this.#isNew(pan, `opening ${nwk.sourceShort} ${nwk.sequence} ${aps.counter}`)) return;
    const evidence = this.#context.evidence(dissection, {
      command: "ZDP permit joining request",
      seconds: zdp.seconds,
      source: this.#context.deviceName(pan, nwk.sourceShort),
    });
    openings.add(frame.timeUs, evidence);
    const forEver = zdp.seconds === 255;
    const kept = this.#context.facts.hasTimeBase && openings.size >= openingsMin;
    if (!forEver && !kept) return;
    const reported = forEver || openings.size > openingsMin ? [evidence] : openings.values();
    for (const opening of reported) {
      this.#context.addEvidence("ZB-PERMIT-JOIN", networkName(pan), opening, {
        confidence: "certain",
        summary: (count) =>
          forEver
            ? "joining was opened without end"
            : `joining was opened ${count} times, each within a minute of others`,
      });
    }
  }

  /** Whether a message was not seen before, on another hop or sent again. */
  #isNew(pan: number, identity: string): boolean {
    const { seenMessages } = this.#membership(pan);
    if (seenMessages.has(identity)) return false;
    if (seenMessages.size >= 1_000) seenMessages.clear();
    seenMessages.add(identity);
    return true;
  }

  #seeConflict(dissection: Dissection, pan: number, command: string): void {
    const membership = this.#membership(pan);
    if (++membership.conflicts < conflictsMin) return;
    this.#context.add("ZB-PAN-CONFLICT", networkName(pan), dissection, {
      confidence: "possible",
      summary: () => `${membership.conflicts} reports of a PAN id conflict`,
      fields: { command },
    });
  }
}
