import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { address } from "./testing/firewall-suite.ts";
import { WindowTable, windowsMax, windowsPerDeviceMax, type WindowRequest } from "./window-table.ts";

const here = address("10.9.0.2");

function request(changes: Partial<WindowRequest> = {}): WindowRequest {
  return {
    device: "pump",
    source: here,
    sourcePort: 0,
    ports: [8883],
    certBind: undefined,
    untilMs: 1_000,
    ...changes,
  };
}

describe("the table of windows", () => {
  it("has one window for a device, an address and a port, made longer by each knock", () => {
    const table = new WindowTable();
    const first = table.open(request());
    const second = table.open(request({ untilMs: 500, ports: [8884] }));
    assert.equal(table.size, 1);
    assert.deepEqual(
      [second?.untilMs, second?.ports, second?.uses, second?.replaces],
      [1_000, [8883, 8884], 2, first?.id],
    );
    assert.ok(first !== undefined && second !== undefined && !table.has(first) && table.has(second));
    table.open(request({ sourcePort: 1_234 }));
    table.open(request({ device: "valve" }));
    table.open(request({ source: address("10.9.0.3") }));
    assert.equal(table.size, 4);
  });

  it("is used by its own device, from its own address; one without a device by anybody", () => {
    const table = new WindowTable();
    table.open(request());
    table.open(request());
    assert.deepEqual(table.use("valve", here), []);
    assert.deepEqual(table.use("pump", address("10.9.0.3")), []);
    assert.deepEqual(table.use("pump", here), []);
    assert.equal(table.use("pump", here).length, 1);
    assert.deepEqual(table.use("pump", here), []);
    table.open(request({ device: undefined }));
    assert.equal(table.use("valve", here).length, 1);
    assert.equal(table.size, 0);
  });

  it("tells the kernel what others still want of what was closed", () => {
    const table = new WindowTable();
    table.open(request({ ports: [1, 2, 3] }));
    table.open(request({ device: "valve", ports: [2], untilMs: 700 }));
    table.open(request({ device: "tank", ports: [2, 3], untilMs: 900 }));
    table.open(request({ device: "other port", sourcePort: 5, ports: [1], untilMs: 5_000 }));
    const [closed] = table.close(({ device }) => device === "pump");
    assert.ok(closed);
    assert.deepEqual(
      table.afterClosing(closed).map(({ target, untilMs }) => [target.ports, untilMs]),
      [
        [[1], undefined],
        [[2], 900],
        [[3], 900],
      ],
    );
  });

  it("has so many windows for a device, and in all, and no more", () => {
    const table = new WindowTable();
    for (let port = 1; port <= windowsPerDeviceMax; port++)
      assert.ok(table.open(request({ sourcePort: port })));
    assert.equal(table.open(request({ sourcePort: 99 })), undefined);
    assert.ok(table.open(request({ sourcePort: 1 })));
    for (let number = windowsPerDeviceMax; number < windowsMax; number++) {
      assert.ok(table.open(request({ device: `device-${number}` })));
    }
    assert.equal(table.open(request({ device: "one more" })), undefined);
    assert.equal(table.close(() => true).length, windowsMax);
    assert.ok(table.open(request({ device: "one more" })));
  });
});
