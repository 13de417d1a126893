import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { formatKnock, parseKnock } from "../enrol/knock-line.ts";
import { enrolmentService } from "./guard.ts";
import { Visitors } from "./visitors.ts";

describe("those who knock before they have a bundle", () => {
  it("are told to the gate when they come and when they go, each once, and may ask for enrolment alone", () => {
    const told: string[] = [];
    using visitors = new Visitors({
      came: ({ name, roaming, services }) => {
        assert.ok(roaming);
        assert.deepEqual(services, [enrolmentService]);
        told.push(`+${name}`);
      },
      left: (name) => told.push(`-${name}`),
    });
    const present = [{ name: "enrolment:1", tenant: "default" }];
    visitors.follow(() => present);
    visitors.look();
    present.push({ name: "claim:line", tenant: "default" });
    visitors.look();
    present.shift();
    visitors.look();
    assert.deepEqual(told, ["+enrolment:1", "+claim:line", "-enrolment:1"]);
    assert.ok(visitors.has("claim:line") && !visitors.has("enrolment:1"));
    assert.deepEqual(
      [...visitors.all()].map(({ name }) => name),
      ["claim:line"],
    );
  });

  it("find their key in the line below the token", () => {
    const knock = { gate: "00", port: 62_201, secret: Buffer.alloc(64, 1).toString("base64"), service: 2 };
    assert.deepEqual(parseKnock(formatKnock(knock)), knock);
    for (const line of [
      "",
      "knock:",
      "knock:e30",
      "boiler-7:pet_x",
      formatKnock({ ...knock, secret: "short" }),
    ])
      assert.equal(parseKnock(line), undefined);
  });
});
