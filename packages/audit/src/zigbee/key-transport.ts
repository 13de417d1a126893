import { isNetworkKeyType, KeyType, keyTypeNames } from "@postern/zigbee/aps/aps-command";
import { type Dissection } from "@postern/zigbee/dissection";
import { type Eui64 } from "@postern/zigbee/eui64";
import {
  decodeGreenPowerCommissioning,
  greenPowerCommissioning,
} from "@postern/zigbee/green-power/commissioning";
import { type Keyring, type ZigbeeKey } from "@postern/zigbee/keyring";
import { decodeMacCommand, MacCommandId } from "@postern/zigbee/mac/mac-command";
import { MacFrameType } from "@postern/zigbee/mac/mac-frame";
import {
  decodeTouchlinkCommand,
  touchlinkCluster,
  TouchlinkCommandId,
  touchlinkCommandName,
} from "@postern/zigbee/touchlink/touchlink-command";

import { type Confidence } from "../finding.ts";
import { type AuditContext, type Detector, networkName, setBounded } from "./context.ts";
import { type ZigbeeRuleId } from "./rules.ts";
import { weakness } from "./weak-key.ts";

const destinationsMax = 10_000;

/** Application keys name the partner of whom they are for, not whom they are for. @see Zigbee §4.4.3.2 */
function namesPartner({ keyType }: TransportKey): boolean {
  return keyType === KeyType.applicationLinkKey || keyType === KeyType.applicationMasterKey;
}

type Fields = Readonly<Record<string, string | number | undefined>>;
type TransportKey = Extract<Dissection["apsCommand"], { kind: "transport-key" }>;

/** Looks at how keys travel and what they are. @see thesis 6.3, 6.6; Zigbee §4.4.3 */
export class KeyTransportDetector implements Detector {
  readonly #context: AuditContext;
  readonly #keyring: Keyring;
  /** The first device that got this link key from the trust centre. */
  readonly #issuedTo = new Map<ZigbeeKey, string>();
  /** The first device that was given a key under this link key. */
  readonly #usedFor = new Map<ZigbeeKey, string>();
  /** How often a device was let in, and at which of its joins it was given a network key under a link key. */
  readonly #joins = new Map<Eui64, number>();
  readonly #servedAt = new Map<ZigbeeKey, Map<Eui64, number>>();
  /** Devices that have used the network key since they were given it. */
  readonly #speaking = new Set<Eui64>();
  /** The networks in which a network key was judged. */
  readonly #judged = new Map<ZigbeeKey, Set<number>>();

  constructor(context: AuditContext, keyring: Keyring) {
    this.#context = context;
    this.#keyring = keyring;
  }

  see(dissection: Dissection, pan: number): void {
    if (dissection.protocol === "inter-pan") this.#seeTouchlink(dissection, pan);
    if (dissection.protocol === "green-power") this.#seeGreenPower(dissection);
    if (dissection.nwkKey !== undefined) {
      this.#judgeNetworkKey(dissection, dissection.nwkKey, pan);
      const speaker = dissection.nwk?.auxiliary?.source;
      if (speaker !== undefined && this.#speaking.size < destinationsMax) this.#speaking.add(speaker);
    }
    if (dissection.protocol === "mac") this.#seeJoin(dissection);
    const command = dissection.apsCommand;
    if (command?.kind !== "transport-key" || command.key.length !== 16) return;
    // An all-zero network key says "you have it already" (Zigbee §4.6.3.2.2.1).
    if (command.key.every((byte) => byte === 0)) return;
    this.#seeProtection(dissection, command, pan);
    this.#seeServed(dissection, command, pan);
    if (command.keyType === KeyType.trustCenterLinkKey) this.#seeIssued(dissection, command, pan);
    if (isNetworkKeyType(command.keyType)) {
      const key = this.#keyring.find(command.key, "network");
      if (key !== undefined) this.#judgeNetworkKey(dissection, key, pan);
    }
  }

  #seeProtection(dissection: Dissection, command: TransportKey, pan: number): void {
    const { apsKey, nwkProtection } = dissection;
    const what = keyTypeNames[command.keyType] ?? `key of type ${command.keyType}`;
    const subject = networkName(pan);
    if (apsKey === undefined && nwkProtection === "none") {
      const summary = (count: number) =>
        `${count} Transport Key ${count === 1 ? "command" : "commands"} without any protection: the ${what} can be read`;
      this.#context.add("ZB-KEY-CLEAR", subject, dissection, {
        confidence: "certain",
        summary,
        fields: this.#transportFields(dissection, command, what),
      });
    } else if (apsKey === undefined && !isNetworkKeyType(command.keyType)) {
      const summary = `a ${what} was sent under the network key alone`;
      this.#context.add("ZB-LINK-KEY-UNDER-NETWORK-KEY", subject, dissection, {
        confidence: "certain",
        summary,
        fields: this.#transportFields(dissection, command, what),
      });
    } else if (apsKey?.origin.kind === "well-known") {
      const { name } = apsKey.origin;
      const summary = (count: number) =>
        `${count} Transport Key ${count === 1 ? "command opens" : "commands open"} with the well-known key ${name}`;
      this.#context.add("ZB-KEY-KNOWN-LINK", subject, dissection, {
        confidence: "certain",
        summary,
        fields: this.#transportFields(dissection, command, what),
      });
    } else if (apsKey !== undefined && command.destination !== undefined && !namesPartner(command)) {
      const first = this.#usedFor.get(apsKey);
      if (first === undefined) setBounded(this.#usedFor, apsKey, command.destination, destinationsMax);
      else if (first !== command.destination) {
        const summary = `${first} and ${command.destination} were given keys under one link key`;
        this.#context.add("ZB-LINK-KEY-SHARED", subject, dissection, {
          confidence: "certain",
          summary,
          fields: this.#transportFields(dissection, command, what),
        });
      }
    }
  }

  #transportFields({ apsKey, nwkProtection }: Dissection, command: TransportKey, keyType: string): Fields {
    const key = this.#keyring.find(command.key, isNetworkKeyType(command.keyType) ? "network" : "link");
    const underNetworkKey = nwkProtection === "opened" ? "network key" : "nothing";
    return {
      command: "Transport Key",
      keyType,
      key: key === undefined ? undefined : this.#context.keyName(key),
      keySequence: command.sequence === -1 ? undefined : command.sequence,
      destination: command.destination,
      source: command.source,
      protectedBy: apsKey === undefined ? underNetworkKey : this.#context.keyName(apsKey),
    };
  }

  #seeJoin({ mac, macPayload, macPayloadStart, macPayloadEnd }: Dissection): void {
    if (mac.frameType !== MacFrameType.command || mac.destination === undefined) return;
    const command = decodeMacCommand(macPayload, macPayloadStart, macPayloadEnd);
    if (command.id !== MacCommandId.associationResponse || command.status !== 0) return;
    setBounded(this.#joins, mac.destination, (this.#joins.get(mac.destination) ?? 0) + 1, destinationsMax);
  }

  /** A device that was let in a second time is given the network key under the link key of the first. */
  #seeServed(dissection: Dissection, command: TransportKey, pan: number): void {
    const { apsKey } = dissection;
    const { destination } = command;
    if (apsKey === undefined || destination === undefined || !isNetworkKeyType(command.keyType)) return;
    const join = this.#joins.get(destination) ?? 0;
    const served = this.#servedAt.get(apsKey) ?? new Map<Eui64, number>();
    setBounded(this.#servedAt, apsKey, served, destinationsMax);
    const before = served.get(destination);
    setBounded(served, destination, join, destinationsMax);
    const hadJoined = this.#speaking.delete(destination);
    // The same join, one that came to nothing before, or an address that was seen at its second join only.
    if (before === undefined || before === 0 || join <= before || !hadJoined) return;
    this.#context.add("ZB-LINK-KEY-REUSED", `device ${destination} in ${networkName(pan)}`, dissection, {
      confidence: "probable",
      summary: (count) =>
        `it joined ${count + 1} times and was given the network key under one link key each time`,
      fields: { command: "Transport Key", destination, protectedBy: this.#context.keyName(apsKey) },
    });
  }

  #seeIssued(dissection: Dissection, command: TransportKey, pan: number): void {
    const key = this.#keyring.find(command.key, "link");
    const { destination } = command;
    if (key === undefined || destination === undefined) return;
    const add = (id: ZigbeeRuleId, summary: string): void => {
      const fields = {
        command: "Transport Key",
        keyType: "trust centre link key",
        key: this.#context.keyName(key),
        destination,
      };
      this.#context.add(id, networkName(pan), dissection, { confidence: "certain", summary, fields });
    };
    if (key.origin.kind === "well-known") {
      const { name } = key.origin;
      add("ZB-TCLK-WELL-KNOWN", `the new trust centre link key is the well-known ${name}`);
      return;
    }
    const first = this.#issuedTo.get(key);
    if (first === undefined) setBounded(this.#issuedTo, key, destination, destinationsMax);
    else if (first !== destination) {
      add("ZB-TCLK-SHARED", `${first} and ${destination} got the same trust centre link key`);
    }
  }

  #judgeNetworkKey(dissection: Dissection, key: ZigbeeKey, pan: number): void {
    const judged = this.#judged.get(key) ?? new Set<number>();
    if (judged.has(pan)) return;
    setBounded(this.#judged, key, judged.add(pan), destinationsMax);
    const subject = networkName(pan);
    const add = (id: ZigbeeRuleId, confidence: Confidence, summary: string): void => {
      const fields = { key: this.#context.keyName(key) };
      this.#context.add(id, subject, dissection, { confidence, summary, fields });
    };
    if (key.origin.kind === "well-known") {
      add("ZB-NWK-KEY-KNOWN", "certain", `the network key is the well-known ${key.origin.name}`);
      return;
    }
    const weak = weakness(key.reveal());
    if (weak !== undefined) add("ZB-NWK-KEY-WEAK", "probable", `the bytes of the network key ${weak}`);
    if (key.origin.kind === "touchlink") {
      const { frame } = key.origin;
      add("ZB-TOUCHLINK-KEY", "certain", `the network key was handed over by touchlink in frame ${frame}`);
    }
  }

  /** A Green Power device that says its key to whoever listens while it is taken in. */
  #seeGreenPower(dissection: Dissection): void {
    const { greenPower, macPayload, mac } = dissection;
    if (greenPower?.command !== greenPowerCommissioning || greenPower.securityLevel !== 0) return;
    const { payloadStart, payloadEnd } = greenPower;
    const command = decodeGreenPowerCommissioning(macPayload, payloadStart, payloadEnd);
    const key = command.key === undefined ? undefined : this.#keyring.find(command.key, "green-power");
    if (key === undefined || command.isKeyEncrypted) return;
    const device = mac.source ?? `0x${greenPower.sourceId.toString(16).padStart(8, "0")}`;
    this.#context.add("ZB-KEY-CLEAR", `Green Power device ${device}`, dissection, {
      confidence: "certain",
      summary: (count) =>
        `${count} Green Power commissioning ${count === 1 ? "command" : "commands"} with the key of the device, not encrypted`,
      fields: { command: "Green Power commissioning", device, key: this.#context.keyName(key) },
    });
  }

  #seeTouchlink(dissection: Dissection, pan: number): void {
    const { aps, apsPayload, apsPayloadStart, apsPayloadEnd, mac } = dissection;
    if (aps?.cluster !== touchlinkCluster || apsPayload === undefined) return;
    const command = decodeTouchlinkCommand(apsPayload, apsPayloadStart, apsPayloadEnd);
    const harmful: readonly number[] = [
      TouchlinkCommandId.resetToFactoryNewRequest,
      TouchlinkCommandId.networkStartRequest,
      TouchlinkCommandId.networkJoinRouterRequest,
      TouchlinkCommandId.networkJoinEndDeviceRequest,
      TouchlinkCommandId.networkUpdateRequest,
    ];
    if (command.stopped !== undefined || !harmful.includes(command.id)) return;
    const subject = pan === -1 ? "touchlink" : networkName(pan);
    this.#context.add("ZB-TOUCHLINK-COMMAND", subject, dissection, {
      confidence: "probable",
      summary: (count) =>
        `${count} touchlink ${count === 1 ? "command" : "commands"} that take over or reset a device`,
      fields: {
        command: touchlinkCommandName(command.id),
        transaction: `0x${command.transactionId.toString(16)}`,
        source: mac.source,
        destination: mac.destination,
      },
    });
  }
}
