import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer as createHttpServer, type RequestListener } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { describe, it } from "node:test";

import { issueRoot, issueServer } from "@postern/pki/issue";

import { createOutbound, isForbiddenAddress, type OutboundOptions } from "./outbound-http.ts";

const dayMs = 86_400_000;
const validity = { notBeforeMs: Date.now() - dayMs, notAfterMs: Date.now() + dayMs };
const root = await issueRoot({ commonName: "Test authority", validity });
const server = await issueServer({ hosts: ["localhost", "127.0.0.1"], validity, issuer: root });
const stranger = await issueRoot({ commonName: "Another authority", validity });

const limits = { timeoutMs: 300, responseBytesMax: 1_000, concurrentMax: 2 };

/** Serves on loopback until the end of the scope. */
async function serve(listener: RequestListener, tls: boolean) {
  const http = tls
    ? createHttpsServer({ cert: server.certificate, key: server.key }, listener)
    : createHttpServer(listener);
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  const address = http.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    url: `${tls ? "https" : "http"}://127.0.0.1:${address.port}/path?query`,
    port: address.port,
    [Symbol.dispose]: () => {
      http.closeAllConnections();
      http.close();
    },
  };
}

const fine: RequestListener = (_request, response) => response.end("yes");

async function answer(listener: RequestListener, options: Partial<OutboundOptions> = {}): Promise<string> {
  using http = await serve(listener, true);
  using outbound = createOutbound({ url: http.url, ca: root.certificate, ...limits, ...options });
  return await outbound.get();
}

describe("requests to servers that the configuration names", () => {
  it("send a body and a bearer, and take the body of a 200", async () => {
    const seen: string[] = [];
    using http = await serve((request, response) => {
      request.setEncoding("utf8").on("data", (chunk: string) => seen.push(chunk));
      request.on("end", () => {
        seen.push(request.method ?? "", request.url ?? "", request.headers.authorization ?? "");
        response.end("yes");
      });
    }, true);
    using outbound = createOutbound({ url: http.url, ca: root.certificate, bearer: () => "B", ...limits });
    assert.equal(await outbound.post("question"), "yes");
    assert.deepEqual(seen, ["question", "POST", "/path?query", "Bearer B"]);
  });

  it("follow no redirect, and take nothing but a 200", async () => {
    for (const [status, headers] of [
      [302, { location: "http://169.254.169.254/latest/meta-data" }],
      [307, { location: "file:///etc/passwd" }],
      [204, {}],
      [500, {}],
    ] as const)
      await assert.rejects(
        answer((_request, response) => response.writeHead(status, headers).end("x")),
        new RegExp(`^Error: it answered ${status}$`),
      );
  });

  it("are over in time and take no more than allowed, however slowly it comes", async () => {
    await assert.rejects(
      answer(() => {}),
      /no answer within 0.3 s/,
    );
    await assert.rejects(
      answer((_request, response) => {
        const timer = setInterval(() => response.write("x"), 20);
        response.on("close", () => clearInterval(timer));
      }),
      /no answer within 0.3 s/,
    );
    await assert.rejects(
      answer((_request, response) => response.end("x".repeat(1_001))),
      /more than 1000 bytes/,
    );
    await assert.rejects(
      answer((_request, response) => {
        response.writeHead(200, { "content-length": 100 }).write("x");
        setTimeout(() => response.destroy(), 20);
      }),
      /cut short|aborted|socket hang up/,
    );
  });

  it("trust the authority that is configured and no other, and check the name", async () => {
    assert.equal(await answer(fine), "yes");
    await assert.rejects(answer(fine, { ca: stranger.certificate }), /certificate/);
    await assert.rejects(answer(fine, { ca: undefined }), /certificate/);
    using http = await serve(fine, true);
    using wrongName = createOutbound({
      url: http.url.replace("127.0.0.1", "127.0.0.2"),
      ca: root.certificate,
      ...limits,
    });
    await assert.rejects(wrongName.get(), /ECONNREFUSED|altnames|certificate/i);
  });

  it("go over plain HTTP where the URL says so", async () => {
    using http = await serve((_request, response) => response.end("yes"), false);
    using outbound = createOutbound({ url: http.url, ...limits });
    assert.equal(await outbound.post("x"), "yes");
  });

  it("never go to addresses where clouds keep credentials, by number or by name", async () => {
    for (const address of [
      "169.254.169.254",
      "[fe80::1]",
      "[::ffff:169.254.169.254]",
      "0.0.0.0",
      "[::]",
      "2852039166",
      "0xa9fea9fe",
      "[fd00:ec2::254]",
    ])
      assert.throws(() => createOutbound({ url: `https://${address}/`, ...limits }), RangeError, address);
    for (const allowed of [
      "127.0.0.1",
      "10.1.2.3",
      "192.168.0.1",
      "203.0.113.1",
      "::1",
      "fd12::1",
      "2001:db8::1",
    ])
      assert.equal(isForbiddenAddress(allowed), false, allowed);
  });
});
