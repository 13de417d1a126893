import { Agent, request as httpsRequest, type RequestOptions } from "node:https";
import { lookup as systemLookup } from "node:dns";
import { BlockList, isIP, isIPv6, type LookupFunction } from "node:net";

import { request as httpRequest } from "@postern/broker/http";

/** What is asked of the one server that a URL of the configuration names. */
export interface OutboundOptions {
  readonly url: string;
  /** PEM; the system's authorities are not trusted then. */
  readonly ca?: string | undefined;
  readonly certificate?: string | undefined;
  readonly key?: string | undefined;
  /** Read for each request, so that it can be replaced. */
  readonly bearer?: (() => string) | undefined;
  readonly timeoutMs: number;
  readonly responseBytesMax: number;
  readonly concurrentMax: number;
}

/** One HTTP server; both resolve with the body of a 200 and reject with one sentence for anything else. */
export interface Outbound extends Disposable {
  get(): Promise<string>;
  post(body: string): Promise<string>;
}

/**
 * Addresses that no user store and no key set has, and that machines in a cloud ask for their own credentials: link-local,
 * unspecified, multicast, and the metadata addresses that stand elsewhere. Private networks and this machine are allowed.
 */
const forbidden = new BlockList();
for (const [network, prefix] of [
  ["0.0.0.0", 8],
  ["169.254.0.0", 16],
  ["192.0.0.0", 24],
  ["100.100.100.200", 32],
  ["224.0.0.0", 3],
] as const)
  forbidden.addSubnet(network, prefix, "ipv4");
for (const [network, prefix] of [
  ["::", 128],
  ["fe80::", 10],
  ["fec0::", 10],
  ["ff00::", 8],
  ["fd00:ec2::", 32],
] as const)
  forbidden.addSubnet(network, prefix, "ipv6");

/** Whether a connection to this address is refused, whatever name led to it. IPv4 inside IPv6 counts as what it is. */
export function isForbiddenAddress(address: string): boolean {
  return forbidden.check(address, isIPv6(address) ? "ipv6" : "ipv4");
}

/** Looks a name up and gives the connection only addresses that were checked: nothing is looked up a second time. */
export function guardedLookup(isForbidden: (address: string) => boolean): LookupFunction {
  return (hostname, options, done) => {
    systemLookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error !== null) return done(error, []);
      const allowed = addresses.filter(({ address }) => !isForbidden(address));
      const [first] = allowed;
      if (first === undefined)
        return done(new Error(`${hostname} leads to an address that is never asked`), []);
      if (options.all === true) done(null, allowed);
      else done(null, first.address, first.family);
    });
  };
}

/** @throws {RangeError} for a URL whose address is never asked. */
export function createOutbound(options: OutboundOptions): Outbound {
  const url = new URL(options.url);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  if (isIP(host) !== 0 && isForbiddenAddress(host))
    throw new RangeError(`${host} is an address that is never asked`);
  const agent = new Agent({ keepAlive: true, maxSockets: options.concurrentMax, maxFreeSockets: 2 });
  const common: RequestOptions = {
    lookup: guardedLookup(isForbiddenAddress),
    rejectUnauthorized: true,
    minVersion: "TLSv1.2",
    ca: options.ca,
    cert: options.certificate,
    key: options.key,
  };
  return {
    get: () => ask(url, options, url.protocol === "https:" ? { ...common, agent } : common, undefined),
    post: (body) => ask(url, options, url.protocol === "https:" ? { ...common, agent } : common, body),
    [Symbol.dispose]: () => agent.destroy(),
  };
}

function ask(
  url: URL,
  { timeoutMs, responseBytesMax, bearer }: OutboundOptions,
  common: RequestOptions,
  body: string | undefined,
): Promise<string> {
  const send = url.protocol === "https:" ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(timeoutMs);
    const fail = (problem: string): void => {
      reject(new Error(problem));
      request.destroy();
    };
    const request = send(
      url,
      {
        ...common,
        method: body === undefined ? "GET" : "POST",
        headers: {
          accept: "application/json",
          ...(body === undefined
            ? {}
            : { "content-type": "application/json", "content-length": Buffer.byteLength(body) }),
          ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer()}` }),
        },
      },
      (response) => {
        // A redirect is an answer like any other that is not 200: what is configured is asked, and nobody else.
        if (response.statusCode !== 200) return fail(`it answered ${response.statusCode ?? 0}`);
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on("data", (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > responseBytesMax) fail(`its answer has more than ${responseBytesMax} bytes`);
          else chunks.push(chunk);
        });
        response.on("end", () => resolve(Buffer.concat(chunks).toString("utf8")));
        response.on("error", (error) => fail(error.message));
        response.on("aborted", () => fail("its answer was cut short"));
      },
    );
    signal.addEventListener("abort", () => fail(`no answer within ${timeoutMs / 1_000} s`), { once: true });
    request.on("error", (error) => fail(error.message));
    request.end(body);
  });
}
