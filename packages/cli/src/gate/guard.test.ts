import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { ConfigError } from "../config/errors.ts";
import { resolveConfiguration } from "../config/configuration.ts";
import { resolveGate } from "../config/gate.ts";
import { enrolmentService, estIsHidden, guardPlan, mqttService, servicePorts } from "./guard.ts";

const configuration = {
  ...resolveConfiguration(undefined, {}),
  listeners: resolveConfiguration(undefined, { bind: "10.0.0.1" }).listeners,
};

describe("what the gate asks the kernel to guard", () => {
  it("are the ports of listeners beyond loopback, and the ports that knocks come to", () => {
    const gate = resolveGate({ registered: ["10.0.0.0/8", "10.0.0.1"], bans: { strict: true } });
    assert.ok(gate);
    const { hiddenPorts, knockPorts, registeredSources, bansStopKnocks } = guardPlan(configuration, gate);
    assert.deepEqual(hiddenPorts, [8883, 8884]);
    assert.deepEqual(knockPorts, [{ transport: "udp", port: 62_201, payloadBytes: { min: 84, max: 84 } }]);
    assert.deepEqual(registeredSources, ["10.0.0.0/8", "10.0.0.1"]);
    assert.equal(bansStopKnocks, true);
  });

  it("are the port of an enrolment server that others could reach, which is a service of its own, unless it is to be seen", () => {
    const gate = resolveGate({});
    assert.ok(gate);
    const { est } = resolveConfiguration(undefined, { bind: "10.0.0.1" });
    assert.ok(est);
    const hidden = { ...configuration, gate, est };
    assert.ok(estIsHidden(hidden));
    assert.deepEqual(guardPlan(hidden, gate).hiddenPorts, [8883, 8884, 8885]);
    assert.deepEqual(
      servicePorts(hidden),
      new Map([
        [mqttService, [8883, 8884]],
        [enrolmentService, [8885]],
      ]),
    );
    for (const seen of [{ ...est, hidden: false }, { ...est, host: "127.0.0.1" }, undefined])
      assert.deepEqual(guardPlan({ ...hidden, est: seen }, gate).hiddenPorts, [8883, 8884]);
    assert.throws(() => guardPlan({ ...hidden, est: { ...est, port: 0 } }, gate), ConfigError);
  });

  it("is refused as a fault of the configuration when no kernel could keep it", () => {
    const registered = Array.from(
      { length: 257 },
      (_, index) => `10.${index % 256}.0.0/${16 + (index >> 8)}`,
    );
    const gate = resolveGate({ registered });
    assert.ok(gate);
    assert.throws(() => guardPlan(configuration, gate), ConfigError);
  });
});
