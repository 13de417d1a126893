import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { createSystemTopicAuthorizer } from "./authorizer.ts";

const authorizer = createSystemTopicAuthorizer({
  devices: new Set(["operator"]),
  listeners: new Set(["inside"]),
});

function permissions(name: string, listener: string, anonymous = false) {
  return authorizer.permissionsOf({ identity: { name, anonymous }, listener });
}

describe("system topic authorizer", () => {
  it("lets everybody use the topics of applications", () => {
    for (const granted of [permissions("a", "x"), permissions("operator", "x"), permissions("", "x", true)]) {
      for (const topic of ["a", "a/$SYS/b", "/", " $SYS"]) {
        assert.ok(
          granted.mayPublish(topic) && granted.maySubscribe(topic) && granted.mayReceive(topic),
          topic,
        );
      }
      assert.ok(granted.maySubscribe("#") && granted.maySubscribe("+/a"));
    }
  });

  it("keeps $SYS from all who are not named, by device or, for anonymous clients, by listener", () => {
    for (const refused of [
      permissions("a", "inside"),
      permissions("", "x", true),
      permissions("operator", "x", true),
    ]) {
      assert.ok(!refused.maySubscribe("$SYS/#") && !refused.mayReceive("$SYS/broker/uptime"));
    }
    for (const granted of [permissions("operator", "x"), permissions("", "inside", true)]) {
      assert.ok(granted.maySubscribe("$SYS/#") && granted.mayReceive("$SYS/broker/uptime"));
    }
  });

  it("lets nobody publish to the server's topics nor read other reserved ones", () => {
    const granted = permissions("operator", "x");
    for (const topic of ["$SYS/broker/uptime", "$", "$other/a"]) assert.ok(!granted.mayPublish(topic), topic);
    for (const filter of ["$", "$SYS", "$SYSTEM/#", "$other/#", "$+/a"])
      assert.ok(!granted.maySubscribe(filter), filter);
  });
});
