import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import { start, unlessInstalled, type Ended, type Running, type RunOptions } from "./support/programs.ts";
import { Broker, unique } from "./support/target.ts";

/** Other people's clients use the broker as they would any other. */
const broker = new Broker();
const withoutMosquitto = unlessInstalled(
  "mosquitto-clients",
  "/usr/bin/mosquitto_pub",
  "/usr/bin/mosquitto_sub",
  "/usr/bin/mosquitto_rr",
);
const withoutPaho = unlessInstalled(
  "python3-paho-mqtt",
  "/usr/bin/python3",
  "/usr/lib/python3/dist-packages/paho/mqtt/client.py",
);

const v5 = ["-V", "mqttv5"];
const versions = ["mqttv31", "mqttv311", "mqttv5"] as const;

function startMosquitto(
  program: "pub" | "sub" | "rr",
  args: readonly string[],
  options: RunOptions = {},
): Running {
  const { host, port } = broker.address("plain");
  return start(`/usr/bin/mosquitto_${program}`, ["-h", host, "-p", `${port}`, ...args], options);
}

async function mosquitto(
  program: "pub" | "sub" | "rr",
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const ended = await startMosquitto(program, args, options).ended;
  return output(ended);
}

function output({ code, stdout, stderr }: Ended): string {
  assert.equal(code, 0, `${stdout}${stderr}`);
  return stdout.trimEnd();
}

/**
 * Starts mosquitto_sub and waits until it is subscribed: it subscribes to one topic more and does not print what
 * comes there, and PUBACK says when somebody is subscribed to it.
 */
async function subscriber(args: readonly string[]): Promise<Running> {
  const ready = unique("ready");
  const running = startMosquitto("sub", [...args, "-t", ready, "-T", ready]);
  await using prober = await broker.connect(5);
  while ((await prober.publish({ topic: ready, qos: 1 })) === 0x10) await delay(10);
  return running;
}

/** MQTT 5 properties of a packet, as the options of mosquitto's clients. */
function propertyArgs(packet: "connect" | "publish" | "subscribe", ...properties: string[][]): string[] {
  return properties.flatMap((words) => ["-D", packet].concat(words));
}

async function runPaho(scenario: string, listener: "plain" | "webSocket" = "plain"): Promise<void> {
  const { host, port } = broker.address(listener);
  const script = join(import.meta.dirname, "interop", "paho_peer.py");
  const transport = listener === "webSocket" ? "websockets" : "tcp";
  const args = [script, scenario, host, `${port}`, transport];
  assert.equal(output(await start("/usr/bin/python3", args).ended), `${scenario}: ok`);
}

describe(
  "mosquitto_pub, mosquitto_sub and mosquitto_rr",
  { concurrency: true, skip: withoutMosquitto },
  () => {
    for (const version of versions) {
      describe(version, { concurrency: true }, () => {
        it("publish and receive at QoS 0, 1 and 2", async () => {
          const topic = unique("t");
          const receiving = await subscriber([
            "-V",
            version,
            "-t",
            topic,
            "-q",
            "2",
            "-C",
            "3",
            "-F",
            "%q %p",
          ]);
          for (const qos of ["0", "1", "2"]) {
            await mosquitto("pub", ["-V", version, "-t", topic, "-q", qos, "-m", `at ${qos}`]);
          }
          assert.equal(output(await receiving.ended), "0 at 0\n1 at 1\n2 at 2");
        });

        it("publish a thousand lines, which arrive in order", async () => {
          const topic = unique("t");
          const lines = Array.from({ length: 1_000 }, (_, index) => `line ${index}`).join("\n");
          const receiving = await subscriber(["-V", version, "-t", topic, "-q", "1", "-C", "1000"]);
          await mosquitto("pub", ["-V", version, "-t", topic, "-q", "1", "-l"], { stdin: `${lines}\n` });
          assert.equal(output(await receiving.ended), lines);
        });

        it("publish half a megabyte", async () => {
          const topic = unique("t");
          const payload = "0123456789".repeat(52_428);
          const receiving = await subscriber(["-V", version, "-t", topic, "-q", "2", "-C", "1"]);
          await mosquitto("pub", ["-V", version, "-t", topic, "-q", "2", "-s"], { stdin: payload });
          assert.equal(output(await receiving.ended), payload);
        });

        it("retain a message and clear it", async () => {
          const topic = unique("t");
          const args = ["-V", version, "-t", topic];
          await mosquitto("pub", [...args, "-q", "1", "-r", "-m", "kept"]);
          assert.equal(await mosquitto("sub", [...args, "-C", "1", "-F", "%r %p"]), "1 kept");
          await mosquitto("pub", [...args, "-r", "-n"]);
          const receiving = await subscriber([...args, "-C", "1", "-F", "%r %p"]);
          await mosquitto("pub", [...args, "-m", "live"]);
          assert.equal(output(await receiving.ended), "0 live");
        });

        it("leave a will when they are killed, and none when they take their leave", async () => {
          const topic = unique("w");
          const args = ["-V", version];
          const will = ["--will-topic", topic, "--will-qos", "1", "--will-payload"];
          const watching = await subscriber([...args, "-t", topic, "-q", "1", "-C", "1"]);
          await mosquitto("sub", [...args, "-t", unique("t"), ...will, "polite", "-E"]);
          const killed = await subscriber([...args, "-t", unique("t"), ...will, "killed"]);
          killed.kill("SIGKILL");
          await killed.ended;
          assert.equal(output(await watching.ended), "killed");
        });

        it("find their session again, with what came meanwhile", async () => {
          const topic = unique("t");
          const expiry = version === "mqttv5" ? ["-x", "600"] : [];
          const args = ["-V", version, "-i", unique("c"), "-c", ...expiry, "-t", topic, "-q", "1"];
          await mosquitto("sub", [...args, "-E"]);
          for (const text of ["first", "second"]) {
            await mosquitto("pub", ["-V", version, "-t", topic, "-q", "1", "-m", text]);
          }
          assert.equal(await mosquitto("sub", [...args, "-C", "2"]), "first\nsecond");
        });

        it("subscribe with wildcards and unsubscribe", async () => {
          const id = unique("t");
          const filters = ["-t", `${id}/+/x`, "-t", `${id}/deep/#`, "-t", `${id}/not`, "-U", `${id}/not`];
          const receiving = await subscriber(["-V", version, ...filters, "-C", "3", "-F", "%t"]);
          const topics = [`${id}/not`, `${id}/a/x`, `${id}/a/y`, `${id}/deep`, `${id}/deep/er/x`];
          for (const topic of topics) await mosquitto("pub", ["-V", version, "-t", topic, "-m", "p"]);
          assert.equal(output(await receiving.ended), [topics[1], topics[3], topics[4]].join("\n"));
        });
      });
    }

    it("pass MQTT 5 properties on", async () => {
      const topic = unique("t");
      const identifier = propertyArgs("subscribe", ["subscription-identifier", "7"]);
      const format = "%C|%R|%D|%F|%E|%P|%S|%p";
      const receiving = await subscriber([...v5, "-t", topic, "-C", "1", "-F", format, ...identifier]);
      const properties = propertyArgs(
        "publish",
        ["content-type", "text/plain"],
        ["response-topic", "answers"],
        ["correlation-data", "42"],
        ["payload-format-indicator", "1"],
        ["message-expiry-interval", "3600"],
        ["user-property", "b", "1"],
        ["user-property", "a", "2"],
      );
      await mosquitto("pub", [...v5, "-t", topic, "-m", "p", ...properties]);
      assert.match(output(await receiving.ended), /^text\/plain\|answers\|42\|1\|3(600|599)\|b:1 a:2\|7\|p$/);
    });

    it("publish by topic alias", async () => {
      const topic = unique("t");
      const receiving = await subscriber([...v5, "-t", topic, "-C", "3", "-F", "%t %p"]);
      const alias = propertyArgs("publish", ["topic-alias", "3"]);
      await mosquitto("pub", [...v5, "-t", topic, "-l", ...alias], { stdin: "1\n2\n3\n" });
      assert.equal(output(await receiving.ended), [1, 2, 3].map((line) => `${topic} ${line}`).join("\n"));
    });

    it("share a subscription", async () => {
      const topic = unique("t");
      const share = [...v5, "-t", `$share/group/${topic}`, "-q", "1", "-C", "10"];
      const members = [await subscriber(share), await subscriber(share)];
      const lines = Array.from({ length: 20 }, (_, index) => `${index + 10}`);
      await mosquitto("pub", [...v5, "-t", topic, "-q", "1", "-l"], {
        stdin: `${lines.join("\n")}\n`,
      });
      const received = await Promise.all(
        members.map(async (member) => output(await member.ended).split("\n")),
      );
      assert.deepEqual(received.flat().sort(), lines);
    });

    it("keep to Maximum Packet Size and Receive Maximum", async () => {
      const topic = unique("t");
      const limits = propertyArgs("connect", ["receive-maximum", "1"], ["maximum-packet-size", "200"]);
      const receiving = await subscriber([...v5, "-t", topic, "-q", "2", "-C", "3", ...limits]);
      const lines = ["a", "x".repeat(300), "b", "c"];
      await mosquitto("pub", [...v5, "-t", topic, "-q", "2", "-l"], { stdin: `${lines.join("\n")}\n` });
      assert.equal(output(await receiving.ended), "a\nb\nc");
    });

    it("ask and are answered (mosquitto_rr)", async () => {
      const topic = unique("t");
      await using responder = await broker.connect(5);
      await responder.subscribe(topic, 1);
      const asking = mosquitto("rr", [
        "-V",
        "mqttv5",
        "-t",
        topic,
        "-e",
        unique("r"),
        "-q",
        "1",
        "-m",
        "6 * 7?",
      ]);
      const request = await responder.receive();
      assert.equal(request.payload, "6 * 7?");
      const { responseTopic } = request.properties;
      assert.ok(responseTopic !== undefined);
      await responder.publish({ topic: responseTopic, payload: "42", qos: 1 });
      assert.equal(await asking, "42");
    });
  },
);

describe("Paho for Python", { concurrency: true, skip: withoutPaho }, () => {
  const scenarios = {
    "publishes and receives at QoS 0, 1 and 2, in MQTT 3.1, 3.1.1 and 5.0": "qos",
    "publishes many messages, which arrive in order": "order",
    "retains a message and clears it": "retained",
    "leaves a will when its connection breaks": "will",
    "finds its session again, with what came meanwhile": "session",
    "passes MQTT 5 properties on": "properties",
    "uses No Local, Retain As Published and Retain Handling": "options",
    "shares a subscription": "shared",
    "asks and is answered": "request",
    "is given a client id": "assigned",
    "is told that it was taken over": "takeover",
  };
  for (const [name, scenario] of Object.entries(scenarios)) it(name, () => runPaho(scenario));

  it("does the same over WebSocket", async () => {
    for (const scenario of ["qos", "order"]) await runPaho(scenario, "webSocket");
  });
});
