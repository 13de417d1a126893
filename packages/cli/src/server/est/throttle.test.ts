import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { Throttle } from "./throttle.ts";

function prepare() {
  const time = { nowMs: 0 };
  const throttle = new Throttle({ wallMs: () => 0, monotonicMs: () => time.nowMs });
  const requests = (address: string, count: number): number =>
    Array.from({ length: count }, () => throttle.request(address)).filter((wait) => wait === undefined)
      .length;
  return { time, throttle, requests };
}

describe("throttle of the enrolment server", () => {
  it("lets an address ask 600 times a minute, and others meanwhile", () => {
    const { time, throttle, requests } = prepare();
    assert.equal(requests("192.0.2.1", 700), 600);
    time.nowMs = 20_500;
    assert.equal(throttle.request("192.0.2.1"), 40);
    assert.equal(throttle.request("192.0.2.2"), undefined);
    time.nowMs = 60_000;
    assert.equal(throttle.request("192.0.2.1"), undefined);
  });

  it("counts an IPv6 network of 64 bits as one, in whatever form it is written", () => {
    const { throttle, requests } = prepare();
    assert.equal(requests("2001:db8::1", 300) + requests("2001:db8:0:0:5:6:7:8", 700), 600);
    assert.equal(throttle.request("2001:db8:0:1::1"), undefined);
  });

  it("remembers a bounded number of sources", () => {
    const { throttle, requests } = prepare();
    for (let index = 0; index < 10_000; index += 1) throttle.request(`a${index}`);
    assert.equal(requests("b1", 500) + requests("b2", 500), 600, "those beyond share one count");
    assert.equal(throttle.request("a1"), undefined);
  });
});
