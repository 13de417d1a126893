import { type ApsCommand, ApsCommandId } from "@postern/zigbee/aps/aps-command";
import { encodeSkke } from "@postern/zigbee/aps/encode-aps-command";
import { type Eui64 } from "@postern/zigbee/eui64";
import { establishSkke, type SkkeExchange, type SkkeResult } from "@postern/zigbee/security/skke";

import { type Device } from "./device.ts";
import { type Received } from "./nwk-types.ts";

/** The trust centre's address. */
const centreAddress = 0;

type SkkeCommand = Extract<ApsCommand, { kind: "skke" }>;

/** To whom the next message goes: to a neighbour on the joining device's last hop, or through the network to its router. */
interface Way {
  readonly short: number;
  readonly lastHop: boolean;
}

/** An exchange that is under way. */
interface Open {
  readonly way: Way;
  readonly masterKey: Uint8Array;
  readonly challenge: Uint8Array;
  exchange: SkkeExchange | undefined;
  result: SkkeResult | undefined;
}

/**
 * The four messages by which trust centre (initiator) and joining device make a link key of a master key. The router at which a device
 * joins passes them on: in clear to and from the device, which has no network key yet, and under the network key otherwise.
 * @see thesis 6.5 High Security mode; Zigbee-2007 §4.4.2 (UseParent)
 */
export class KeyEstablishment {
  readonly #device: Device;
  readonly #open = new Map<Eui64, Open>();

  constructor(device: Device) {
    this.#device = device;
  }

  /** The trust centre's first message. */
  begin(
    responder: Eui64,
    masterKey: Uint8Array,
    at: { readonly short: number; readonly router: number | undefined },
  ): void {
    const isChild = at.router === undefined || at.router === this.#device.place.short;
    const way = isChild ? { short: at.short, lastHop: true } : { short: at.router, lastHop: false };
    const challenge = this.#device.random.bytes(16);
    this.#open.set(responder, { way, masterKey, challenge, exchange: undefined, result: undefined });
    this.#send(ApsCommandId.skke1, { initiator: this.#device.address, responder }, challenge, way);
  }

  receive(command: SkkeCommand, received: Received): void {
    const { initiator, responder, data } = command;
    if (initiator === undefined || responder === undefined || data.length !== 16) return;
    const pair = { initiator, responder };
    if (initiator !== this.#device.address && responder !== this.#device.address) {
      this.#passOn(command, pair, received);
      return;
    }
    const back = { short: received.frame.sourceShort, lastHop: true };
    const open = this.#open.get(responder === this.#device.address ? initiator : responder);
    switch (command.id) {
      case ApsCommandId.skke1:
        this.#answer(pair, data.slice(), back);
        break;
      case ApsCommandId.skke2: {
        if (open === undefined) break;
        const { masterKey, challenge: initiatorChallenge } = open;
        open.exchange = { masterKey, ...pair, initiatorChallenge, responderChallenge: data.slice() };
        open.result = establishSkke(open.exchange);
        this.#send(ApsCommandId.skke3, pair, open.result.initiatorTag, open.way);
        break;
      }
      case ApsCommandId.skke3:
        if (open?.result === undefined || !isSame(open.result.initiatorTag, data)) break;
        this.#send(ApsCommandId.skke4, pair, open.result.responderTag, back);
        this.#device.joiner.keyEstablished(open.result.linkKey);
        break;
      case ApsCommandId.skke4:
        if (open?.result === undefined || !isSame(open.result.responderTag, data)) break;
        this.#open.delete(responder);
        this.#device.keyExchange.established(responder, open.result.linkKey);
        break;
      default:
        break;
    }
  }

  #answer(
    pair: { readonly initiator: Eui64; readonly responder: Eui64 },
    initiatorChallenge: Uint8Array,
    way: Way,
  ): void {
    const { masterKey } = this.#device.joiner.policy;
    if (masterKey === undefined || pair.responder !== this.#device.address) return;
    const challenge = this.#device.random.bytes(16);
    const exchange = { masterKey, ...pair, initiatorChallenge, responderChallenge: challenge };
    const result = establishSkke(exchange);
    this.#open.set(pair.initiator, { way, masterKey, challenge, exchange, result });
    this.#send(ApsCommandId.skke2, pair, challenge, way);
  }

  /** A router's part: what comes from the trust centre goes to the child that it is for, what comes from that child to the trust centre. */
  #passOn(
    { id, data }: SkkeCommand,
    pair: { readonly initiator: Eui64; readonly responder: Eui64 },
    { frame, secured }: Received,
  ): void {
    const { isRouter, isMember, nwk } = this.#device;
    const child = [...nwk.children.values()].find(({ address }) => address === pair.responder);
    if (!isRouter || !isMember || child === undefined) return;
    const isDown = id === ApsCommandId.skke1 || id === ApsCommandId.skke3;
    if (isDown && secured) this.#send(id, pair, data, { short: child.short, lastHop: true });
    // Nobody else may have us send something under the network key.
    if (!isDown && !child.proved && frame.sourceShort === child.short) {
      this.#send(id, pair, data, { short: centreAddress, lastHop: false });
    }
  }

  #send(
    id: number,
    pair: { readonly initiator: Eui64; readonly responder: Eui64 },
    data: Uint8Array,
    { short, lastHop }: Way,
  ): void {
    const directly = lastHop ? { nextHop: short, secured: false } : {};
    this.#device.aps.sendCommand(encodeSkke(id, pair, data), { destination: short, ...directly });
  }
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
