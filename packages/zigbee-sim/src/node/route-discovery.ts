import { encodeRouteReply, encodeRouteRequest } from "@postern/zigbee/nwk/encode-nwk-command";
import { NwkFrameType } from "@postern/zigbee/nwk/nwk-frame";

import { type EventQueue } from "../event-queue.ts";
import { type Random } from "../random.ts";
import { type NetworkPlace, NwkBroadcast, type Outgoing, type Received } from "./nwk-types.ts";
import { type Routing } from "./routing.ts";

const radiusMax = 15;
const relayJitterUs = 64_000;
const discoveryWaitUs = 1_000_000;
const waitingForRouteMax = 8;

/** What a route request asks for. */
interface RouteRequest {
  readonly requestId: number;
  readonly destination: number;
  readonly pathCost: number;
}

/** What a route reply says. */
interface RouteReply {
  readonly requestId: number;
  readonly originator: number;
  readonly responder: number;
  readonly pathCost: number;
}

/** What route discovery needs of the network layer that it belongs to. */
export interface RouteDiscoveryParts {
  readonly routing: Routing;
  readonly place: NetworkPlace;
  readonly queue: EventQueue;
  readonly random: Random;
  readonly secured: boolean;
  readonly nextSequence: () => number;
  /** To all routers in reach. */
  readonly transmit: (frame: Outgoing) => void;
  /** A command to a neighbour. */
  readonly send: (payload: Uint8Array, neighbour: number) => void;
  readonly hop: (frame: Outgoing, nextHop: number) => void;
  readonly nextHop: (destination: number) => number | undefined;
  /** Whether a device is a child of this one, which answers for it. */
  readonly isChild: (short: number) => boolean;
}

/** Finds ways by asking all routers, and keeps frames until one is known. @see Zigbee §3.6.3.5 */
export class RouteDiscovery {
  readonly #parts: RouteDiscoveryParts;
  readonly #waiting = new Map<number, Outgoing[]>();
  #requestId: number;

  constructor(parts: RouteDiscoveryParts) {
    this.#parts = parts;
    this.#requestId = parts.random.below(256);
  }

  /** Sends a frame when a way is known; false when too many wait already. */
  wait(frame: Outgoing, isRelayed: boolean): boolean {
    const list = this.#waiting.get(frame.destination) ?? [];
    if (isRelayed && list.length >= waitingForRouteMax) return false;
    list.push(frame);
    this.#waiting.set(frame.destination, list);
    if (list.length === 1) this.#discover(frame.destination);
    return true;
  }

  #discover(destination: number): void {
    const { routing, place, queue, nextSequence, nextHop, hop } = this.#parts;
    this.#requestId = (this.#requestId + 1) & 0xff;
    const request = { requestId: this.#requestId, destination, pathCost: 0 };
    routing.request({ ...request, originator: place.short }, place.short, queue.nowUs);
    this.#sendRequest(request, place.short, radiusMax, nextSequence());
    queue.after(discoveryWaitUs, () => {
      const list = this.#waiting.get(destination) ?? [];
      this.#waiting.delete(destination);
      for (const frame of list) {
        const next = nextHop(destination);
        if (next === undefined) frame.onDone?.("no-route");
        else hop(frame, next);
      }
    });
  }

  #sendRequest(request: RouteRequest, originator: number, radius: number, sequence: number): void {
    this.#parts.transmit({
      frameType: NwkFrameType.command,
      destination: NwkBroadcast.routers,
      source: originator,
      sourceExtended: undefined,
      radius,
      sequence,
      payload: encodeRouteRequest(request),
      secured: this.#parts.secured,
      onDone: undefined,
    });
  }

  /** A neighbour looks for a way: it is answered, or asked on. */
  seeRequest({ frame, previousHop }: Received, command: RouteRequest): void {
    const { routing, place, queue, random, isChild, send } = this.#parts;
    if (frame.sourceShort === place.short) return;
    const { requestId, destination } = command;
    const pathCost = Math.min(255, command.pathCost + routing.cost(previousHop));
    const originator = frame.sourceShort;
    const isBetter = routing.request({ originator, requestId, pathCost }, previousHop, queue.nowUs);
    if (!isBetter) return;
    routing.learn(originator, previousHop, pathCost);
    if (destination === place.short || isChild(destination)) {
      send(encodeRouteReply({ requestId, originator, responder: destination, pathCost: 0 }), previousHop);
    } else if (frame.radius > 1) {
      const again = { requestId, destination, pathCost };
      queue.after(2_000 + random.below(relayJitterUs), () =>
        this.#sendRequest(again, originator, frame.radius - 1, frame.sequence),
      );
    }
  }

  /** A way was found: for frames that wait here, or for who had asked. */
  seeReply(previousHop: number, reply: RouteReply): void {
    const { routing, place, hop, send } = this.#parts;
    const pathCost = Math.min(255, reply.pathCost + routing.cost(previousHop));
    routing.learn(reply.responder, previousHop, pathCost);
    if (reply.originator === place.short) {
      const list = this.#waiting.get(reply.responder) ?? [];
      this.#waiting.set(reply.responder, []);
      for (const frame of list) hop(frame, previousHop);
      return;
    }
    const back = routing.wayBack(reply.originator, reply.requestId);
    if (back !== undefined) send(encodeRouteReply({ ...reply, pathCost }), back);
  }
}
