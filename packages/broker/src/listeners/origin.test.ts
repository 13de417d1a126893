import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { mayOpen } from "./origin.ts";

const cases: readonly [
  says: string,
  origin: string,
  host: string | undefined,
  tls: boolean,
  expected: boolean,
][] = [
  ["lets a listed page in", "https://cockpit.example.org", "broker:8083", false, true],
  ["refuses any other page", "https://evil.example", "127.0.0.1:8083", false, false],
  [
    "refuses a page whose name only begins like a listed one",
    "https://cockpit.example.org.evil.example",
    "x",
    true,
    false,
  ],
  ["refuses an opaque origin", "null", "127.0.0.1:8083", false, false],
  ["lets in who names the address it connects to", "https://127.0.0.1:8083", "127.0.0.1:8083", false, true],
  ["lets in who names the IPv6 address it connects to", "http://[::1]:8083", "[::1]:8083", false, true],
  ["lets in who names localhost and connects to it", "http://LocalHost:8083", "localhost:8083", false, true],
  ["refuses another port of the same host", "http://127.0.0.1:80", "127.0.0.1:8083", false, false],
  [
    "refuses a name that a page's owner may have pointed here",
    "http://evil.example:8083",
    "evil.example:8083",
    false,
    false,
  ],
  [
    "lets in who names the host that TLS has proved",
    "https://broker.example.org",
    "broker.example.org",
    true,
    true,
  ],
  ["refuses an origin with a user", "https://a@127.0.0.1:8083", "127.0.0.1:8083", false, false],
  ["refuses an origin without a host to compare with", "https://127.0.0.1", undefined, false, false],
];

describe("the origin of a WebSocket", () => {
  for (const [says, origin, host, tls, expected] of cases) {
    it(says, () => {
      assert.equal(mayOpen({ origin, host, tls, listed: ["https://cockpit.example.org"] }), expected);
    });
  }
});
