import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { configured, tlsOnly } from "../support/configurations.ts";
import { command, scratch, up } from "../support/postern.ts";
import { connectBytes, connectMqtt, portOf, secured, sendPlain } from "../support/raw.ts";

const http =
  "GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
  "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

describe("attack 03: plain MQTT", () => {
  it("is answered by no MQTT on TLS ports, while a device with its certificate is served there", async () => {
    using directory = scratch();
    await using server = await up(configured(directory.path, tlsOnly));
    for (const url of server.urls) {
      for (const bytes of [connectBytes("x", 4), connectBytes("x", 5), http]) {
        const { received, error } = await sendPlain(portOf(url), bytes);
        assert.notEqual(error, "still open", url);
        // A TLS alert at the most.
        assert.ok(received.length === 0 || received[0] === 0x15, received.toString("latin1"));
      }
    }
    const device = await secured(server.data, portOf(server.urls[0]));
    assert.equal(await connectMqtt(device, "honest"), 0);
    device.destroy();
  });

  it("has no listener unless the configuration names one, and none that others reach without saying insecure", async () => {
    using directory = scratch();
    const shown = await command(["config", "show", "--data", `${directory.path}/none`]);
    assert.equal(shown.code, 0, shown.stderr);
    assert.doesNotMatch(shown.stdout, /\b(mqtt|ws):\/\//);
    const refused = async (listener: string) => {
      const [, file = ""] = configured(directory.path, `listeners: [${listener}]\nmetrics: { url: off }\n`);
      return command(["config", "check", file]);
    };
    const open = await refused("{ url: mqtt://0.0.0.0:1883, anonymous: true }");
    assert.equal(open.code, 2);
    assert.match(open.stderr + open.stdout, /add "insecure: true"/);
    assert.equal((await refused("{ url: mqtt://127.0.0.1:1883, anonymous: true }")).code, 0);
  });
});
