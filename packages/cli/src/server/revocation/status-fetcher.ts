import { request as httpsRequest } from "node:https";
import { BlockList, isIP, isIPv6 } from "node:net";

import { request as httpRequest } from "@postern/broker/http";
import type { StatusRequest } from "@postern/identity/foreign/trust-anchor";

import { guardedLookup, isForbiddenAddress } from "../outbound-http.ts";

/** Clients wait meanwhile. */
const timeoutMs = 4_000;
/** 200,000 entries; reading them takes half a second. */
const crlBytesMax = 10_485_760;
const ocspBytesMax = 65_536;
/** Requests that are open at a time, and those that may wait for one to end. */
const openMax = 16;
const waitingMax = 256;

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

/** A certificate may not send us to this machine's own services. */
function isForbiddenToCertificates(address: string): boolean {
  return isForbiddenAddress(address) || loopback.check(address, isIPv6(address) ? "ipv6" : "ipv4");
}

/** Fetches CRLs and OCSP answers from where a person, or a certificate of an authority that is trusted, says. */
export class StatusFetcher {
  #openCount = 0;
  readonly #waiting: (() => void)[] = [];

  /** @see StatusSources.fetch */
  async fetch(request: StatusRequest): Promise<Uint8Array> {
    const url = URL.parse(request.url);
    if (url === null || (url.protocol !== "http:" && url.protocol !== "https:"))
      throw new Error("it is no http:// or https:// URL");
    if (url.username !== "" || url.password !== "")
      throw new Error("its URL has a user name or password in it");
    const isForbidden = request.configured ? isForbiddenAddress : isForbiddenToCertificates;
    const host = url.hostname.replace(/^\[|\]$/g, "");
    // Node looks no address up, so the look-up does not see it.
    if (isIP(host) !== 0 && isForbidden(host)) throw new Error(`${host} is an address that is never asked`);
    await this.#turn();
    try {
      return await ask(url, request.body, isForbidden);
    } finally {
      this.#openCount -= 1;
      this.#waiting.shift()?.();
    }
  }

  async #turn(): Promise<void> {
    if (this.#openCount >= openMax) {
      if (this.#waiting.length >= waitingMax) throw new Error("too many questions are open already");
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#openCount += 1;
  }
}

function ask(
  url: URL,
  body: Uint8Array | undefined,
  isForbidden: (address: string) => boolean,
): Promise<Uint8Array> {
  const send = url.protocol === "https:" ? httpsRequest : httpRequest;
  const bytesMax = body === undefined ? crlBytesMax : ocspBytesMax;
  const headers =
    body === undefined
      ? { accept: "application/pkix-crl" }
      : {
          accept: "application/ocsp-response",
          "content-type": "application/ocsp-request",
          "content-length": body.length,
        };
  return new Promise((resolve, reject) => {
    const fail = (problem: string): void => {
      reject(new Error(problem));
      request.destroy();
    };
    const signal = AbortSignal.timeout(timeoutMs);
    const request = send(
      url,
      {
        method: body === undefined ? "GET" : "POST",
        headers,
        lookup: guardedLookup(isForbidden),
        agent: false,
      },
      (response) => {
        // A redirect could lead anywhere; lists and responders stand where certificates say.
        if (response.statusCode !== 200) {
          fail(`it answered ${response.statusCode ?? 0}`);
          return;
        }
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on("data", (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > bytesMax) fail(`its answer has more than ${bytesMax} bytes`);
          else chunks.push(chunk);
        });
        response.on("end", () => resolve(Buffer.concat(chunks)));
        response.on("error", (error) => fail(error.message));
        response.on("aborted", () => fail("its answer was cut short"));
      },
    );
    signal.addEventListener("abort", () => fail(`no answer within ${timeoutMs / 1_000} s`), { once: true });
    request.on("error", (error) => fail(error.message));
    request.end(body);
  });
}
