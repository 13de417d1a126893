import { isNetworkKeyType } from "@postern/zigbee/aps/aps-command";
import {
  encodeConfirmKey,
  encodeRemoveDevice,
  encodeRequestKey,
  encodeSwitchKey,
  encodeTransportKey,
  encodeTunnel,
  encodeUpdateDevice,
  encodeVerifyKey,
} from "@postern/zigbee/aps/encode-aps-command";
import { type Eui64 } from "@postern/zigbee/eui64";
import { type ArrivedUnder, type JoiningAction } from "@postern/zigbee/key-life/joining-device";
import {
  type JoinKind,
  type TrustCentre,
  type TrustCentreAction,
} from "@postern/zigbee/key-life/trust-centre";
import { encodeLeave } from "@postern/zigbee/nwk/encode-nwk-command";
import { NwkFrameType } from "@postern/zigbee/nwk/nwk-frame";
import { KeyIdentifier } from "@postern/zigbee/security/auxiliary-header";

import { type ApsCommandIndication, type ApsProtection } from "./aps.ts";
import { type Device } from "./device.ts";
import { KeyEstablishment } from "./key-establishment.ts";
import { NwkBroadcast } from "./nwk-types.ts";

/** The trust centre's address in a centralized network. */
const centreAddress = 0;
/** What Update Device says of how a device came. @see Zigbee Table 4-41 */
const joinStatus: Readonly<Record<JoinKind, number>> = {
  "secured-rejoin": 0,
  association: 1,
  "unsecured-rejoin": 3,
};
/** Sleeping devices have so long to fetch the next network key before it is used. */
const switchDelayUs = 20_000_000;

/** How long an answer of the trust centre is waited for, and how often it is asked. */
const answerWaitUs = 4_000_000;
const attemptsMax = 4;

type LinkKeyAction = Extract<JoiningAction, { kind: "request-link-key" | "verify-key" }>;

/** Where a device is: at which router, or somewhere in the network. */
interface Location {
  readonly short: number;
  /** The router that it is joining at; `undefined`: it is a member. */
  readonly router: number | undefined;
}

/** Carries out what the keys of a network require: sends and receives the commands that bring, prove and change keys. @see Zigbee §4.4 */
export class KeyExchange {
  readonly #device: Device;
  readonly #locations = new Map<Eui64, Location>();
  readonly #establishment: KeyEstablishment;

  constructor(device: Device) {
    this.#device = device;
    this.#establishment = new KeyEstablishment(device);
  }

  /** Link keys that may protect what comes from that device. */
  linkKeys(source: Eui64 | undefined): readonly Uint8Array[] {
    const { trustCentre, joiner, isCoordinator } = this.#device;
    if (isCoordinator && trustCentre !== undefined) {
      const known = source === undefined ? undefined : trustCentre.device(source);
      return present([known?.linkKey, known?.issuedKey]);
    }
    return present([joiner.linkKey, joiner.candidateKey, joiner.policy.linkKey]);
  }

  /** What protects application messages between this device and the trust centre; `undefined`: nothing is shared yet. */
  applicationProtection(peer: Eui64 | undefined): ApsProtection | undefined {
    const { stack, security } = this.#device.world.scenario;
    // Without a trust centre no two devices share a key of their own.
    if (!stack.apsEncryption || security.model === "distributed") return undefined;
    const [linkKey] = this.linkKeys(peer);
    return linkKey === undefined ? undefined : { linkKey, keyIdentifier: KeyIdentifier.dataKey };
  }

  /** Watches time limits and replaces the network key when it is due. */
  startTrustCentre(): void {
    const { trustCentre, world } = this.#device;
    if (trustCentre === undefined) return;
    const look = (): void => {
      this.#performAll(trustCentre.expire(world.queue.nowUs));
      world.queue.after(1_000_000, look);
    };
    world.queue.after(1_000_000, look);
    const { keyUpdateSeconds, model } = world.scenario.security;
    if (keyUpdateSeconds > 0 && model === "centralized")
      world.queue.after(keyUpdateSeconds * 1_000_000, () => this.replaceNetworkKey());
  }

  /** Gives all devices but those in `except` a new network key, and uses it when they have had time to fetch it. */
  replaceNetworkKey(except: ReadonlySet<Eui64> = new Set()): void {
    const { trustCentre, world } = this.#device;
    if (trustCentre === undefined) return;
    this.#device.note("replaces the network key", "defence");
    this.#performAll(trustCentre.updateNetworkKey(except));
    world.queue.after(switchDelayUs, () => this.#performAll(trustCentre.switchKey()));
  }

  /** A device has come to this parent. */
  childJoined(device: Eui64, short: number, kind: JoinKind): void {
    const { trustCentre, world, aps } = this.#device;
    if (world.scenario.stack.securityLevel === 0) return;
    if (trustCentre !== undefined) {
      this.#locations.set(device, {
        short,
        router: kind === "secured-rejoin" ? undefined : this.#device.place.short,
      });
      this.#performAll(trustCentre.deviceJoined(device, kind, world.queue.nowUs));
      return;
    }
    aps.sendCommand(encodeUpdateDevice(device, short, joinStatus[kind]), { destination: centreAddress });
  }

  /** A protected frame that names its device has arrived at the trust centre. */
  proved(device: Eui64, short: number): void {
    this.#locations.set(device, { short, router: undefined });
    this.#device.trustCentre?.frameProved(device);
  }

  /** Where a device is, if it has announced itself. */
  shortAddress(device: Eui64): number | undefined {
    return this.#locations.get(device)?.short;
  }

  /** What the own keys require of the trust centre; asked again when no answer comes. */
  perform(action: LinkKeyAction, attempt = 1): void {
    const { aps, joiner, plan, membership, world } = this.#device;
    world.queue.after(answerWaitUs, () => {
      const [again] = joiner.unanswered();
      if (again?.kind !== action.kind) return;
      if (attempt >= attemptsMax) joiner.giveUpLinkKey();
      else this.perform(action, attempt + 1);
    });
    if (action.kind === "verify-key") {
      aps.sendCommand(encodeVerifyKey(plan.address, action.hash), { destination: centreAddress });
    } else if (joiner.linkKey !== undefined) {
      const protection = { linkKey: joiner.linkKey, keyIdentifier: KeyIdentifier.dataKey };
      aps.sendCommand(encodeRequestKey(4), { destination: centreAddress, protection });
    }
    membership.polling.expectAnswer();
  }

  /** An APS command has arrived. */
  receive(indication: ApsCommandIndication): void {
    const { command, received } = indication;
    const device = this.#device;
    switch (command.kind) {
      case "transport-key":
        this.#keyArrived(indication);
        break;
      case "switch-key":
        if (received.secured) device.nwk.security.switchKey(command.sequence);
        break;
      case "confirm-key":
        if (indication.linkKey !== undefined) device.joiner.keyConfirmed(command.status);
        break;
      case "tunnel":
        this.#passOn(command.destination, indication.tunnelled);
        break;
      case "remove-device":
        if (received.secured && device.isRouter && command.device !== undefined)
          this.#sendAway(command.device);
        break;
      case "skke":
        this.#establishment.receive(command, received);
        break;
      case "request-key":
      case "update-device":
      case "verify-key":
        if (device.isCoordinator && device.trustCentre !== undefined) {
          this.#receiveAtCentre(device.trustCentre, indication);
        }
        break;
      case "other":
        break;
      default:
        command satisfies never;
    }
  }

  #receiveAtCentre(trustCentre: TrustCentre, { command, protectedBy, received }: ApsCommandIndication): void {
    const { world } = this.#device;
    if (!received.secured) return;
    if (command.kind === "update-device" && command.device !== undefined) {
      const kind =
        command.status === 1 ? "association" : command.status === 3 ? "unsecured-rejoin" : "secured-rejoin";
      const router = kind === "secured-rejoin" ? undefined : received.frame.sourceShort;
      this.#locations.set(command.device, { short: command.shortAddress, router });
      this.#performAll(trustCentre.deviceJoined(command.device, kind, world.queue.nowUs));
    } else if (command.kind === "request-key" && protectedBy !== undefined) {
      const actions =
        command.keyType === 4
          ? trustCentre.linkKeyRequested(protectedBy)
          : command.partner === undefined
            ? []
            : trustCentre.applicationKeyRequested(protectedBy, command.partner);
      this.#performAll(actions);
    } else if (command.kind === "verify-key" && command.source !== undefined) {
      this.#performAll(trustCentre.keyVerified(command.source, command.hash));
    }
  }

  #keyArrived({ command, linkKey, received }: ApsCommandIndication): void {
    const { joiner, plan, membership, isCoordinator } = this.#device;
    if (command.kind !== "transport-key" || isCoordinator) return;
    if (isNetworkKeyType(command.keyType) && command.destination !== plan.address) return;
    const under: ArrivedUnder =
      linkKey === undefined
        ? received.secured
          ? "network-key"
          : "clear"
        : linkKey === joiner.policy.linkKey
          ? "preconfigured-key"
          : "link-key";
    const wasMember = joiner.isMember;
    membership.perform(joiner.transportKey(command, under));
    if (!wasMember && joiner.isMember) this.#device.nwk.security.incoming.forget();
  }

  #passOn(destination: Eui64 | undefined, frame: Uint8Array | undefined): void {
    const { nwk } = this.#device;
    const child = [...nwk.children.values()].find(({ address }) => address === destination);
    if (child === undefined || frame === undefined) return;
    nwk.send(frame, {
      frameType: NwkFrameType.data,
      destination: child.short,
      nextHop: child.short,
      secured: false,
    });
  }

  #performAll(actions: readonly TrustCentreAction[]): void {
    for (const action of actions) this.#performCentre(action);
  }

  #performCentre(action: TrustCentreAction): void {
    const { aps, nwk } = this.#device;
    switch (action.kind) {
      case "transport-key":
        this.#sendKey(action);
        break;
      case "establish-key": {
        const location = this.#locations.get(action.device);
        if (location !== undefined) this.#establishment.begin(action.device, action.masterKey, location);
        break;
      }
      case "remove-device": {
        this.#device.note(`turns ${action.device} away: ${action.reason}`, "defence");
        const location = this.#locations.get(action.device);
        if (location?.router !== undefined && location.router !== this.#device.place.short) {
          aps.sendCommand(encodeRemoveDevice(action.device), { destination: location.router });
        } else {
          this.#sendAway(action.device);
        }
        break;
      }
      case "confirm-key": {
        const location = this.#locations.get(action.device);
        if (location === undefined) break;
        const protection = { linkKey: action.linkKey, keyIdentifier: KeyIdentifier.dataKey };
        const command = encodeConfirmKey(action.status, action.device);
        aps.sendCommand(command, { destination: location.short, protection });
        break;
      }
      case "switch-key":
        aps.sendCommand(encodeSwitchKey(action.sequence), { destination: NwkBroadcast.all });
        // The broadcast goes out under the key before.
        this.#device.world.queue.after(500_000, () => nwk.security.switchKey(action.sequence));
        break;
      default:
        action satisfies never;
    }
  }

  /** SKKE has ended: the trust centre goes on with the network key. */
  established(device: Eui64, linkKey: Uint8Array): void {
    this.#performAll(this.#device.trustCentre?.keyEstablished(device, linkKey) ?? []);
  }

  #sendKey(action: Extract<TrustCentreAction, { kind: "transport-key" }>): void {
    const { aps, trustCentre, place } = this.#device;
    const location = this.#locations.get(action.device);
    if (location === undefined || trustCentre === undefined) return;
    const { protection } = action;
    const aspect: ApsProtection | undefined =
      protection.kind === "clear"
        ? undefined
        : {
            linkKey: protection.linkKey,
            keyIdentifier:
              protection.kind === "key-load" ? KeyIdentifier.keyLoadKey : KeyIdentifier.keyTransportKey,
          };
    const command = encodeTransportKey({
      keyType: action.keyType,
      key: action.key,
      sequence: action.sequence,
      destination: action.device,
      source: trustCentre.address,
    });
    if (location.router === undefined) {
      aps.sendCommand(command, { destination: location.short, protection: aspect });
    } else if (location.router === place.short) {
      const { short } = location;
      aps.sendCommand(command, { destination: short, nextHop: short, protection: aspect, secured: false });
    } else {
      const frame = aps.commandFrame(command, aspect);
      if (frame === undefined) return;
      aps.sendCommand(encodeTunnel(action.device, frame), { destination: location.router });
    }
  }

  #sendAway(device: Eui64): void {
    const { nwk } = this.#device;
    const child = [...nwk.children.values()].find(({ address }) => address === device);
    if (child === undefined) return;
    const leave = encodeLeave({ request: true, rejoin: false });
    const to = { frameType: NwkFrameType.command, destination: child.short, nextHop: child.short, radius: 1 };
    if (child.proved) nwk.send(leave, to);
    nwk.children.delete(child.short);
  }
}

function present(keys: readonly (Uint8Array | undefined)[]): Uint8Array[] {
  return keys.filter((key) => key !== undefined);
}
