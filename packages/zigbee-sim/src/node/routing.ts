/** A neighbour in radio range. */
export interface Neighbour {
  readonly address: number;
  /** From 1 (best) to 7, of what we hear of it and what it hears of us (0: not known). */
  incomingCost: number;
  outgoingCost: number;
  heardUs: number;
  isRouter: boolean;
}

/** The next hop on the way to a destination. */
interface Route {
  readonly nextHop: number;
  readonly cost: number;
}

/** A route that is being looked for, as this device has seen the request. */
interface Discovery {
  bestCost: number;
  previousHop: number;
  readonly atUs: number;
}

const neighboursMax = 26;
const routesMax = 40;
const discoveriesMax = 32;
const discoveryUs = 10_000_000;
/** A neighbour that was not heard for so long is no way to anywhere. Three link statuses. */
const silentUs = 46_000_000;
const worstCost = 7;

/** Cost of a link by the strength that is received. @see Zigbee §3.6.3.1 */
export function linkCost(rssi: number): number {
  if (rssi >= -80) return 1;
  if (rssi >= -85) return 2;
  if (rssi >= -88) return 3;
  if (rssi >= -91) return 5;
  return worstCost;
}

/** Neighbours, routes and the requests for routes of one device. @see Zigbee §3.6.3 */
export class Routing {
  readonly neighbours = new Map<number, Neighbour>();
  readonly #routes = new Map<number, Route>();
  readonly #discoveries = new Map<number, Discovery>();
  /** Most entries at a time. */
  peakNeighbours = 0;
  repairs = 0;

  /** A frame of a device next to us has arrived. */
  heard(address: number, rssi: number, nowUs: number, isRouter: boolean): void {
    const cost = linkCost(rssi);
    const known = this.neighbours.get(address);
    if (known !== undefined) {
      known.incomingCost = Math.round((3 * known.incomingCost + cost) / 4);
      known.heardUs = nowUs;
      known.isRouter ||= isRouter;
      return;
    }
    if (this.neighbours.size >= neighboursMax) {
      const stale = [...this.neighbours.values()].find((other) => nowUs - other.heardUs > silentUs);
      if (stale === undefined) return;
      this.neighbours.delete(stale.address);
    }
    this.neighbours.set(address, { address, incomingCost: cost, outgoingCost: 0, heardUs: nowUs, isRouter });
    this.peakNeighbours = Math.max(this.peakNeighbours, this.neighbours.size);
  }

  /** What a link to a neighbour costs in the worse direction. */
  cost(address: number): number {
    const neighbour = this.neighbours.get(address);
    if (neighbour === undefined) return worstCost;
    return Math.max(neighbour.incomingCost, neighbour.outgoingCost);
  }

  /** Where a frame for `destination` goes next; `undefined`: a route has to be looked for. */
  nextHop(destination: number, nowUs: number): number | undefined {
    const neighbour = this.neighbours.get(destination);
    const isNear = neighbour?.isRouter === true && nowUs - neighbour.heardUs < silentUs;
    if (isNear && this.cost(destination) <= 3) return destination;
    return this.#routes.get(destination)?.nextHop;
  }

  learn(destination: number, nextHop: number, cost: number): void {
    const [oldest] = this.#routes.keys();
    if (!this.#routes.has(destination) && this.#routes.size >= routesMax && oldest !== undefined) {
      this.#routes.delete(oldest);
    }
    this.#routes.set(destination, { nextHop, cost });
  }

  /** The next hop does not answer: it is not used until it is heard again. */
  broken(nextHop: number): void {
    this.repairs++;
    const neighbour = this.neighbours.get(nextHop);
    if (neighbour !== undefined) neighbour.incomingCost = worstCost;
    for (const [destination, route] of this.#routes) {
      if (route.nextHop === nextHop) this.#routes.delete(destination);
    }
  }

  forget(destination: number): void {
    this.#routes.delete(destination);
  }

  /**
   * A route request was heard. Returns whether it is new or better than before, and so has to be relayed; the way back is
   * remembered. @see Zigbee §3.6.3.5.2
   */
  request(
    request: { readonly originator: number; readonly requestId: number; readonly pathCost: number },
    previousHop: number,
    nowUs: number,
  ): boolean {
    const key = request.originator * 256 + request.requestId;
    const known = this.#discoveries.get(key);
    const isOld = known !== undefined && nowUs - known.atUs > discoveryUs;
    if (known !== undefined && !isOld) {
      if (request.pathCost >= known.bestCost) return false;
      known.bestCost = request.pathCost;
      known.previousHop = previousHop;
      return true;
    }
    const [oldest] = this.#discoveries.keys();
    if (this.#discoveries.size >= discoveriesMax && oldest !== undefined) this.#discoveries.delete(oldest);
    this.#discoveries.set(key, { bestCost: request.pathCost, previousHop, atUs: nowUs });
    return true;
  }

  /** Towards the originator of a request. */
  wayBack(originator: number, requestId: number): number | undefined {
    return this.#discoveries.get(originator * 256 + requestId)?.previousHop;
  }

  get routeCount(): number {
    return this.#routes.size;
  }
}

/**
 * Addresses of a tree: how many addresses a router at `depth` gives each of its routers. @see Zigbee §3.6.1.6
 */
export function treeSkip(
  depth: number,
  tree: { readonly childrenMax: number; readonly routersMax: number; readonly depthMax: number },
): number {
  const { childrenMax, routersMax, depthMax } = tree;
  if (routersMax === 1) return 1 + childrenMax * (depthMax - depth - 1);
  const power = routersMax ** (depthMax - depth - 1);
  return Math.floor((1 + childrenMax - routersMax - childrenMax * power) / (1 - routersMax));
}

/** The next hop in a tree: down to the child under which the destination lies, or up. @see Zigbee §3.6.3.3 */
export function treeNextHop(
  own: { readonly address: number; readonly depth: number; readonly parent: number | undefined },
  destination: number,
  tree: { readonly childrenMax: number; readonly routersMax: number; readonly depthMax: number },
): number | undefined {
  const blockEnd = own.depth === 0 ? 0x10000 : own.address + treeSkip(own.depth - 1, tree);
  if (destination <= own.address || destination >= blockEnd) return own.parent;
  const skip = treeSkip(own.depth, tree);
  const offset = destination - own.address - 1;
  if (skip <= 0 || offset >= tree.routersMax * skip) return destination;
  return own.address + 1 + Math.floor(offset / skip) * skip;
}
