import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { describe, it } from "node:test";

import { parseListenerUrl } from "../config/listener-url.ts";
import { listenError } from "./listen-error.ts";

function sentence(url: string, code: string): string {
  const address = parseListenerUrl(url);
  assert.ok(address.kind !== "invalid");
  return listenError(address, Object.assign(new Error(`${code}: listen`), { code })).message;
}

describe("an address that cannot be listened on", () => {
  it("is explained with a mend for each cause", () => {
    const table: readonly (readonly [url: string, code: string, message: RegExp])[] = [
      [
        "mqtts://127.0.0.1:1",
        "EADDRINUSE",
        /^cannot listen on mqtts:\/\/127\.0\.0\.1:1: port 1 is taken by another program: stop it/,
      ],
      ["wss://[::1]:443", "EACCES", /no right to port 443: choose one above 1023/],
      ["mqtts://192.0.2.1:1", "EADDRNOTAVAIL", /192\.0\.2\.1 is not an address of this machine/],
      ["mqtts://a.invalid:1", "ENOTFOUND", /the name a\.invalid cannot be resolved/],
      ["mqtts://[::1]:1", "EAFNOSUPPORT", /this machine has no IPv6/],
      [
        "unix:///a/b.sock",
        "EADDRINUSE",
        /cannot listen on unix:\/\/\/a\/b\.sock: something listens there already/,
      ],
      ["unix:///a/b.sock", "EACCES", /permission denied: choose a path/],
      ["unix:///a/b.sock", "ENOENT", /no such directory: create it/],
      ["unix:///a/b.sock", "EIO", /EIO: listen$/],
      ["mqtts://127.0.0.1:1", "EIO", /EIO: listen$/],
    ];
    for (const [url, code, message] of table) assert.match(sentence(url, code), message);
  });

  it("is not said to be another process's when this one listens there", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    assert.ok(address !== null && typeof address === "object");
    const message = sentence(`mqtts://127.0.0.1:${address.port}`, "EADDRINUSE");
    await new Promise((resolve) => server.close(resolve));
    assert.match(
      message,
      /is taken by another listener of this server: choose another port under listeners$/,
    );
  });
});
