import { type ApsCommand, ApsCommandId } from "@postern/zigbee/aps/aps-command";
import { encodeSkke } from "@postern/zigbee/aps/encode-aps-command";
import { type Eui64 } from "@postern/zigbee/eui64";
import { establishSkke, type SkkeExchange, type SkkeResult } from "@postern/zigbee/security/skke";

import { type Device } from "./device.ts";
import { type Received } from "./nwk-types.ts";

type SkkeCommand = Extract<ApsCommand, { kind: "skke" }>;

/** An exchange that is under way. */
interface Open {
  readonly short: number;
  readonly masterKey: Uint8Array;
  readonly challenge: Uint8Array;
  exchange: SkkeExchange | undefined;
  result: SkkeResult | undefined;
}

/**
 * The four messages by which trust centre (initiator) and joining device make a link key of a master key. Only for devices that
 * join at the trust centre itself. @see thesis 6.5 High Security mode; Zigbee-2007 §4.4.2
 */
export class KeyEstablishment {
  readonly #device: Device;
  readonly #open = new Map<Eui64, Open>();

  constructor(device: Device) {
    this.#device = device;
  }

  /** The trust centre's first message. */
  begin(responder: Eui64, masterKey: Uint8Array, short: number | undefined): void {
    if (short === undefined) return;
    const challenge = this.#device.random.bytes(16);
    this.#open.set(responder, { short, masterKey, challenge, exchange: undefined, result: undefined });
    this.#send(ApsCommandId.skke1, { initiator: this.#device.address, responder }, challenge, short);
  }

  receive(command: SkkeCommand, received: Received): void {
    const { initiator, responder, data } = command;
    if (initiator === undefined || responder === undefined || data.length !== 16) return;
    const pair = { initiator, responder };
    const short = received.frame.sourceShort;
    const open = this.#open.get(responder === this.#device.address ? initiator : responder);
    switch (command.id) {
      case ApsCommandId.skke1:
        this.#answer(pair, data.slice(), short);
        break;
      case ApsCommandId.skke2: {
        if (open === undefined) break;
        const { masterKey, challenge: initiatorChallenge } = open;
        open.exchange = { masterKey, ...pair, initiatorChallenge, responderChallenge: data.slice() };
        open.result = establishSkke(open.exchange);
        this.#send(ApsCommandId.skke3, pair, open.result.initiatorTag, open.short);
        break;
      }
      case ApsCommandId.skke3:
        if (open?.result === undefined || !isSame(open.result.initiatorTag, data)) break;
        this.#send(ApsCommandId.skke4, pair, open.result.responderTag, short);
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
    short: number,
  ): void {
    const { masterKey } = this.#device.joiner.policy;
    if (masterKey === undefined || pair.responder !== this.#device.address) return;
    const challenge = this.#device.random.bytes(16);
    const exchange = { masterKey, ...pair, initiatorChallenge, responderChallenge: challenge };
    const result = establishSkke(exchange);
    this.#open.set(pair.initiator, { short, masterKey, challenge, exchange, result });
    this.#send(ApsCommandId.skke2, pair, challenge, short);
  }

  #send(
    id: number,
    pair: { readonly initiator: Eui64; readonly responder: Eui64 },
    data: Uint8Array,
    short: number,
  ): void {
    this.#device.aps.sendCommand(encodeSkke(id, pair, data), {
      destination: short,
      nextHop: short,
      secured: false,
    });
  }
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
