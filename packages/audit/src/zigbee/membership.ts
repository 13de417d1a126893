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

/** Devices that ask to join within fifteen seconds and then never say a word, until it counts as a flood. */
const floodDevicesMin = 10;
const floodWindowUs = 15_000_000;
/** Who was answered is given this time to speak. */
const speaksUs = 3_000_000;
/** Beacons of one device within ten seconds that nobody asked for, and how long after a request one counts as asked for. */
const beaconsMin = 20;
const beaconsWindowUs = 10_000_000;
const askedUs = 2_000_000;
/** Times that joining is opened within a minute, until it counts as kept open. */
const openingsMin = 3;
const openingsWindowUs = 60_000_000;
/** Beacons say all that time that joining is open, and at least so often: longer than a permission lasts. */
const permitUsMax = 600_000_000;
const permitGapUs = 254_000_000;
/** Times that an extended PAN id comes back to a PAN id that it had left: a network that changes its PAN id does so once. */
const returnsMin = 3;
const conflictsMin = 3;
const orphansMax = 1_000;
const networksMax = 1_024;

/** An association request of a device that has not spoken since. */
interface Request {
  readonly device: Eui64;
  readonly evidence: Evidence;
  isAnswered: boolean;
}

/** Since when the beacons of a device say that joining is open. */
interface Permission {
  readonly sinceUs: number;
  lastUs: number;
}

/** Under which PAN id a network announces itself. */
interface Announced {
  pan: number;
  before: number;
  returns: number;
}

/** What is followed of one network. */
interface Membership {
  readonly requests: SlidingWindow<Request>;
  /** The devices of `requests`, and the short addresses that they were given. */
  readonly asking: Set<Eui64>;
  readonly assigned: Map<number, Eui64>;
  /** By short address. */
  readonly beacons: Map<number, SlidingWindow<number>>;
  /** By short address. */
  readonly permissions: Map<number, Permission>;
  readonly openings: SlidingWindow<Evidence>;
  /** Every router on their way sends a message again. */
  readonly seenMessages: Set<string>;
  /** The first beacon of each extended PAN id. */
  readonly extendedPans: Map<Eui64, number>;
  conflicts: number;
}

/** Looks at who joins, leaves and is told to. @see thesis 6.6; IEEE 802.15.4-2006 §7.3, Zigbee §3.6.1 */
export class MembershipDetector implements Detector {
  readonly #context: AuditContext;
  readonly #networks = new Map<number, Membership>();
  readonly #announced = new Map<Eui64, Announced>();
  /** Devices that have lost their network: they do not say which (IEEE 802.15.4-2006 §7.3.6). */
  readonly #orphans = new Set<Eui64>();
  /** When somebody asked for beacons last. */
  #askedUs = Number.NEGATIVE_INFINITY;

  constructor(context: AuditContext) {
    this.#context = context;
  }

  /** Takes a frame that names no network. */
  seeBroadcast({ mac, macPayload, macPayloadStart, frame }: Dissection): void {
    if (mac.frameType !== MacFrameType.command) return;
    const id = macPayload[macPayloadStart];
    if (id === MacCommandId.beaconRequest) this.#askedUs = frame.timeUs;
    else if (id === MacCommandId.orphanNotification) this.#seeOrphan(mac.source);
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
      asking: new Set(),
      assigned: new Map(),
      beacons: new Map(),
      permissions: new Map(),
      openings: new SlidingWindow(openingsWindowUs),
      seenMessages: new Set(),
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
        if (mac.destination === undefined || !membership.asking.has(mac.destination)) break;
        for (const request of membership.requests.values()) {
          if (request.device === mac.destination) request.isAnswered = true;
        }
        if (command.status === 0)
          setBounded(membership.assigned, command.shortAddress, mac.destination, orphansMax);
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
        this.#seeOrphan(mac.source);
        break;
      case MacCommandId.beaconRequest:
        this.#askedUs = dissection.frame.timeUs;
        break;
      case MacCommandId.coordinatorRealignment:
        // An orphan is told where it is at home, and not to go elsewhere.
        if (mac.destination !== undefined && this.#orphans.has(mac.destination) && command.pan === pan) break;
        this.#context.add("ZB-REALIGNMENT", networkName(pan), dissection, {
          confidence: "probable",
          summary: (count) =>
            `${count} coordinator ${count === 1 ? "realignment" : "realignments"} that no orphan had asked for, or to another network`,
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

  #seeOrphan(device: Eui64 | undefined): void {
    if (device === undefined) return;
    if (this.#orphans.size >= orphansMax) this.#orphans.clear();
    this.#orphans.add(device);
  }

  #seeRequest(dissection: Dissection, pan: number, device: Eui64): void {
    // Without times there is no rate.
    if (!this.#context.facts.hasTimeBase) return;
    const { requests, asking } = this.#membership(pan);
    const evidence = this.#context.evidence(dissection, { command: "association request", source: device });
    const now = evidence.timeUs;
    requests.add(now, { device, evidence, isAnswered: false });
    const all = requests.values();
    asking.clear();
    for (const request of all) asking.add(request.device);
    const silent = all.filter(
      ({ isAnswered, evidence: { timeUs } }) => !isAnswered || now - timeUs >= speaksUs,
    );
    const devices = new Set(silent.map((request) => request.device)).size;
    if (devices < floodDevicesMin) return;
    const answered = silent.filter(({ isAnswered }) => isAnswered).length;
    const which =
      2 * answered > silent.length ? "of devices that never speak afterwards" : "without an answer";
    // The requests that made up the number belong to the flood as well as those that follow.
    for (const request of devices === floodDevicesMin ? silent : silent.slice(-1)) {
      this.#context.addEvidence("ZB-ASSOCIATION-FLOOD", networkName(pan), request.evidence, {
        confidence: "probable",
        summary: (count) =>
          `${count} association requests ${which}, ${devices} devices within fifteen seconds`,
      });
    }
  }

  /** Who speaks has joined, whether or not the sniffer heard the answer. */
  #seeSpeaker(pan: number, short: number, source: Eui64 | undefined): void {
    const membership = this.#networks.get(pan);
    if (membership === undefined || membership.asking.size === 0) return;
    const device = source ?? membership.assigned.get(short);
    if (device === undefined || !membership.asking.delete(device)) return;
    membership.requests.drop((request) => request.device === device);
  }

  #seeBeacon(dissection: Dissection, pan: number): void {
    const { mac, frame } = dissection;
    const beacon = decodeBeacon(frame.bytes, mac.payloadStart, mac.payloadEnd);
    if (beacon.zigbee === undefined || beacon.stopped !== undefined) return;
    const { extendedPan } = beacon.zigbee;
    // Not a name: the network has none yet (Zigbee §3.6.1.1).
    if (/^(00|ff)(:\1){7}$/.test(extendedPan)) return;
    this.#seeUnasked(dissection, pan, extendedPan);
    this.#seePermission(dissection, pan, beacon.associationPermit);
    this.#seeAnnounced(dissection, pan, extendedPan);
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

  /** Devices of Zigbee send a beacon when they are asked for it. */
  #seeUnasked(dissection: Dissection, pan: number, extendedPan: Eui64): void {
    const { mac, frame } = dissection;
    if (!this.#context.facts.hasTimeBase || Math.abs(frame.timeUs - this.#askedUs) < askedUs) return;
    const { beacons } = this.#membership(pan);
    const window = beacons.get(mac.sourceShort) ?? new SlidingWindow<number>(beaconsWindowUs);
    setBounded(beacons, mac.sourceShort, window, 64);
    window.add(frame.timeUs, frame.number);
    const { size } = window;
    if (size < beaconsMin) return;
    const source = hex16(mac.sourceShort & 0xffff);
    this.#context.add("ZB-TRAP-NETWORK", networkName(pan), dissection, {
      confidence: "possible",
      summary: `${size} beacons of ${source} within ten seconds that nobody had asked for`,
      fields: { extendedPan, source },
    });
  }

  #seePermission(dissection: Dissection, pan: number, isOpen: boolean): void {
    const { mac, frame } = dissection;
    if (!this.#context.facts.hasTimeBase) return;
    const { permissions } = this.#membership(pan);
    const before = permissions.get(mac.sourceShort);
    if (!isOpen) {
      permissions.delete(mac.sourceShort);
      return;
    }
    if (before === undefined || frame.timeUs - before.lastUs > permitGapUs) {
      setBounded(permissions, mac.sourceShort, { sinceUs: frame.timeUs, lastUs: frame.timeUs }, networksMax);
      return;
    }
    before.lastUs = frame.timeUs;
    const openUs = frame.timeUs - before.sinceUs;
    if (openUs < permitUsMax) return;
    const source = this.#context.deviceName(pan, mac.sourceShort);
    this.#context.add("ZB-PERMIT-JOIN", networkName(pan), dissection, {
      confidence: "probable",
      summary: `the beacons of ${source} say for ${Math.floor(openUs / 60_000_000)} minutes that joining is open`,
      fields: { command: "beacon", source, associationPermit: "yes" },
    });
  }

  /** Who answers for a network under another PAN id than the network itself draws devices away that look for its extended PAN id. */
  #seeAnnounced(dissection: Dissection, pan: number, extendedPan: Eui64): void {
    const announced = this.#announced.get(extendedPan);
    if (announced === undefined) {
      setBounded(this.#announced, extendedPan, { pan, before: -1, returns: 0 }, networksMax);
      return;
    }
    if (announced.pan === pan) return;
    const isBack = announced.before === pan;
    announced.before = announced.pan;
    announced.pan = pan;
    if (!isBack || ++announced.returns < returnsMin) return;
    this.#context.add("ZB-TRAP-NETWORK", `extended PAN id ${extendedPan}`, dissection, {
      confidence: "probable",
      summary: `it is announced under the PAN ids ${hex16(pan)} and ${hex16(announced.before)} in turn`,
      fields: { extendedPan, pan: hex16(pan), source: hex16(dissection.mac.sourceShort & 0xffff) },
    });
  }

  #seeZigbee(dissection: Dissection, pan: number): void {
    const { nwk, aps } = dissection;
    this.#seeSpeaker(pan, dissection.mac.sourceShort, nwk?.auxiliary?.source);
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
