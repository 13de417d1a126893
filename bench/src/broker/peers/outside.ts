import type { Target } from "../load/job.ts";
import type { Certificates, Needs, Peer } from "./peer.ts";

/** A broker that runs already, as `--broker name=mqtt://host:port,pid=N` names it. */
export interface OutsideBroker {
  readonly name: string;
  readonly url: URL;
  readonly pid: number | undefined;
}

const schemes: Readonly<Record<string, { readonly transport: Needs["transport"]; readonly port: number }>> = {
  "mqtt:": { transport: "tcp", port: 1883 },
  "mqtts:": { transport: "tls", port: 8883 },
  "ws:": { transport: "ws", port: 80 },
  "wss:": { transport: "wss", port: 443 },
};

/** @throws RangeError when the text is not `name=mqtt://host:port[,pid=N]`. */
export function parseOutside(text: string): OutsideBroker {
  const [, name, address = "", pid] = /^([\w.-]+)=([^,]+)(?:,pid=(\d+))?$/.exec(text) ?? [];
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (name === undefined || url === undefined || schemes[url.protocol] === undefined)
    throw new RangeError(`--broker wants name=mqtt://host:port[,pid=N] (or mqtts, ws, wss), not ${text}`);
  return { name, url, pid: pid === undefined ? undefined : Number(pid) };
}

/** Any broker by its address. Without its process id only its rate and latency are known. */
export class Outside implements Peer {
  readonly name: string;
  readonly version: string;
  readonly pids: readonly number[];
  readonly #url: URL;
  readonly #certificates: Certificates;

  constructor(broker: OutsideBroker, certificates: Certificates) {
    this.name = broker.name;
    this.version = broker.url.href;
    this.pids = broker.pid === undefined ? [] : [broker.pid];
    this.#url = broker.url;
    this.#certificates = certificates;
  }

  targetFor({ transport }: Needs): Target | undefined {
    const scheme = schemes[this.#url.protocol];
    if (scheme?.transport !== transport) return undefined;
    const secure = transport === "tls" || transport === "wss";
    return {
      host: this.#url.hostname.replace(/^\[|\]$/g, ""),
      port: this.#url.port === "" ? scheme.port : Number(this.#url.port),
      webSocket: transport === "ws" || transport === "wss",
      speaks: "mqtt",
      pids: [...this.pids],
      // Its certificate is not ours to judge, and it does not know our clients'.
      ...(secure ? { tls: { ca: this.#certificates.ca, unverified: true } } : {}),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
