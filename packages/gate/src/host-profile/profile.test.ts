import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { formatEndpoint, parseEndpoint } from "./endpoint.ts";
import { profileRuleset, type HostProfile } from "./profile.ts";

const profile: HostProfile = {
  kind: "server",
  in: [{ protocol: "udp", port: 62_201, purpose: "knock" }],
  out: [{ protocol: "udp", port: 53, peer: "fd00::/64" }],
};

describe("an endpoint", () => {
  for (const text of ["tcp/22", "udp/53@192.168.1.1", "tcp/443@10.0.0.0/8", "udp/123@fd00::/64"]) {
    it(`is read and written: ${text}`, () => {
      const endpoint = parseEndpoint(text);
      assert.ok(endpoint);
      assert.equal(formatEndpoint(endpoint), text);
    });
  }

  it("is nothing else", () => {
    for (const text of [
      "",
      "22",
      "tcp/0",
      "tcp/65536",
      "icmp/1",
      "tcp/22@",
      "tcp/22@example.org",
      "tcp/22@10.0.0.0/33",
      "tcp/22@fe80::1%eth0",
      "tcp/22 accept",
    ]) {
      assert.equal(parseEndpoint(text), undefined, text);
    }
  });
});

describe("the rules of a profile", () => {
  it("name what is let through, and what for", () => {
    const text = profileRuleset(profile);
    assert.match(text, /hook input priority filter; policy drop;/);
    assert.match(text, /hook output priority filter; policy drop;/);
    assert.match(text, /\t\tudp dport 62201 accept comment "knock"\n/);
    assert.match(text, /\t\tip6 daddr fd00::\/64 udp dport 53 accept\n/);
    assert.match(text, /elements = \{ ipv4, ipv6 \}/);
    assert.match(profileRuleset(profile, 60), /elements = \{ ipv4 timeout 60s, ipv6 timeout 60s \}/);
  });

  it("take nothing that is not a port, a peer or a purpose", () => {
    const endpoint = fc.record({
      protocol: fc.constantFrom("tcp" as const, "udp" as const),
      port: fc.oneof(fc.integer(), fc.double()),
      peer: fc.string(),
      purpose: fc.string(),
    });
    fc.assert(
      fc.property(endpoint, (found) => {
        try {
          const [line] =
            profileRuleset({ kind: "device", in: [found], out: [] }).match(/^.* dport .*$/m) ?? [];
          assert.match(
            line ?? "",
            /^\t\t(ip6? saddr [0-9a-f.:/]+ )?(tcp|udp) dport \d+ accept( comment "[\w .,:/-]*")?$/i,
          );
        } catch (thrown) {
          assert.ok(thrown instanceof RangeError, String(thrown));
        }
      }),
    );
  });

  it("are not tried for a time too short to notice, or too long to wait", () => {
    for (const seconds of [0, 9, 3_601, 1.5, Number.NaN])
      assert.throws(() => profileRuleset(profile, seconds), RangeError);
    const many = Array.from({ length: 257 }, (_, port) => ({ protocol: "tcp" as const, port: port + 1 }));
    assert.throws(() => profileRuleset({ ...profile, in: many }), RangeError);
  });
});
