import { type Dissection } from "@postern/zigbee/dissection";
import { type Eui64 } from "@postern/zigbee/eui64";
import { decodeBeacon } from "@postern/zigbee/mac/beacon";
import { decodeMacCommand, MacCommandId } from "@postern/zigbee/mac/mac-command";
import { MacFrameType } from "@postern/zigbee/mac/mac-frame";
import { isNetworkKeyType } from "@postern/zigbee/aps/aps-command";
import { decodeZdpFrame, ZdpCluster, zdpProfile } from "@postern/zigbee/zdp/zdp-frame";

import { type AuditContext, type Detector, setBounded } from "./context.ts";

const devicesMax = 10_000;
const networksMax = 1_024;

/** A device that was heard or spoken of. */
export interface SeenDevice {
  readonly address: Eui64;
  shortAddress: number;
  role: "coordinator" | "router" | "end device" | undefined;
  /** Protected frames that it sent itself, hop by hop. */
  frames: number;
  /** Frames that gave it a network key. */
  readonly keyFrames: number[];
  /** It sent a frame that the network key opens. */
  holdsKey: boolean;
  /** Whom it joined through, or asks for what waits for it. */
  parent: Eui64 | undefined;
}

/** A network and its devices. */
export interface SeenNetwork {
  readonly pan: number;
  readonly extendedPans: Set<Eui64>;
  readonly keySequences: Set<number>;
  readonly devices: Map<Eui64, SeenDevice>;
}

/** Puts down which networks and devices there are. @see OWASP ISVS V4.5.8 */
export class InventoryDetector implements Detector {
  readonly networks = new Map<number, SeenNetwork>();
  readonly #context: AuditContext;

  constructor(context: AuditContext) {
    this.#context = context;
  }

  see(dissection: Dissection, pan: number): void {
    const { mac, nwk, frame } = dissection;
    const network = this.#network(pan);
    if (mac.frameType === MacFrameType.beacon) {
      const { zigbee } = decodeBeacon(frame.bytes, mac.payloadStart, mac.payloadEnd);
      if (zigbee !== undefined && network.extendedPans.size < 64)
        network.extendedPans.add(zigbee.extendedPan);
      return;
    }
    if (mac.frameType === MacFrameType.command) {
      this.#seeCommand(dissection, network);
      return;
    }
    const auxiliary = nwk?.auxiliary;
    if (auxiliary?.source !== undefined) {
      network.keySequences.add(auxiliary.keySequence);
      const device = deviceOf(network, auxiliary.source);
      device.frames++;
      if (dissection.nwkProtection === "opened") device.holdsKey = true;
      if (mac.sourceShort !== -1) setShort(device, mac.sourceShort);
    }
    const command = dissection.apsCommand;
    if (
      command?.kind === "transport-key" &&
      isNetworkKeyType(command.keyType) &&
      command.destination !== undefined
    ) {
      const { keyFrames } = deviceOf(network, command.destination);
      if (keyFrames.length < 100) keyFrames.push(frame.number);
    }
    if (dissection.aps?.profile === zdpProfile) this.#seeZdp(dissection, network);
  }

  #seeCommand({ mac, macPayload, macPayloadStart, macPayloadEnd }: Dissection, network: SeenNetwork): void {
    const command = decodeMacCommand(macPayload, macPayloadStart, macPayloadEnd);
    if (command.id === MacCommandId.dataRequest) {
      const child = mac.source ?? this.#context.address(network.pan, mac.sourceShort);
      const device = child === undefined ? undefined : network.devices.get(child);
      const parent = mac.destination ?? this.#context.address(network.pan, mac.destinationShort);
      if (device !== undefined && parent !== undefined) device.parent = parent;
      return;
    }
    if (command.id !== MacCommandId.associationResponse || command.status !== 0) return;
    if (mac.source !== undefined) deviceOf(network, mac.source);
    if (mac.destination === undefined) return;
    const joined = deviceOf(network, mac.destination);
    setShort(joined, command.shortAddress);
    joined.parent = mac.source ?? joined.parent;
  }

  #seeZdp({ aps, apsPayload, apsPayloadStart, apsPayloadEnd }: Dissection, network: SeenNetwork): void {
    if (aps === undefined || apsPayload === undefined) return;
    const zdp = decodeZdpFrame(aps.cluster, apsPayload, apsPayloadStart, apsPayloadEnd);
    if (zdp.stopped !== undefined) return;
    if (
      aps.cluster === ZdpCluster.deviceAnnounce &&
      zdp.kind === "device-announce" &&
      zdp.address !== undefined
    ) {
      const device = deviceOf(network, zdp.address);
      setShort(device, zdp.shortAddress);
      device.role ??= zdp.capability & 2 ? "router" : "end device";
    }
    if (zdp.kind === "node-descriptor" && zdp.status === 0) {
      const address = this.#context.address(network.pan, zdp.shortAddress);
      const role = (["coordinator", "router", "end device"] as const)[zdp.logicalType];
      if (address !== undefined && role !== undefined) deviceOf(network, address).role = role;
    }
  }

  #network(pan: number): SeenNetwork {
    const found = this.networks.get(pan);
    if (found !== undefined) return found;
    const network: SeenNetwork = {
      pan,
      extendedPans: new Set(),
      keySequences: new Set(),
      devices: new Map(),
    };
    setBounded(this.networks, pan, network, networksMax);
    return network;
  }
}

function deviceOf(network: SeenNetwork, address: Eui64): SeenDevice {
  const found = network.devices.get(address);
  if (found !== undefined) return found;
  const device: SeenDevice = {
    address,
    shortAddress: -1,
    role: undefined,
    frames: 0,
    keyFrames: [],
    holdsKey: false,
    parent: undefined,
  };
  setBounded(network.devices, address, device, devicesMax);
  return device;
}

function setShort(device: SeenDevice, short: number): void {
  device.shortAddress = short;
  if (short === 0) device.role = "coordinator";
}
