import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import { openDataDirectory } from "@postern/identity/data-directory";
import { newDevice } from "@postern/identity/device";
import { devicesFile } from "@postern/identity/installation";
import { defaultPermissions } from "@postern/identity/permissions/default-file";
import { DeviceRegistry } from "@postern/identity/registry";

import { run } from "../main.ts";
import { fakeContext } from "../testing.ts";

const documentation = readFileSync(
  fileURLToPath(new URL("../../../../docs/PERMISSIONS.md", import.meta.url)),
  "utf8",
);

/** The YAML examples of the documentation that are written to files, in order. */
const examples = Array.from(
  documentation.matchAll(/```yaml run[^\n]*\n([^]*?)```/g),
  ([, text = ""]) => text,
);

function device(name: string, roles: readonly string[]) {
  return newDevice({ name, tenant: "default", roles }, 0);
}

describe("postern permissions", () => {
  let cwd: string;
  before(() => {
    cwd = mkdtempSync(join(tmpdir(), "postern-permissions-"));
    const { permissions, pki } = openDataDirectory(join(cwd, "data"));
    writeFileSync(permissions, defaultPermissions);
    mkdirSync(pki, { mode: 0o700 });
    using registry = new DeviceRegistry(devicesFile(pki));
    registry.putAll([device("sensor-1", ["device"]), device("nobody", []), device("typo", ["devise"])]);
  });
  after(() => rmSync(cwd, { recursive: true, force: true }));

  async function command(...args: string[]) {
    const context = fakeContext({ cwd });
    const code = await run(["permissions", ...args], context);
    return { code, out: context.out(), err: context.err() };
  }
  const explain = (...args: string[]) => command("explain", ...args, "--data", "data");

  it("explain says yes with the line that decided, and ends with 0", async () => {
    assert.deepEqual(await explain("sensor-1", "publish", "devices/sensor-1/state", "--qos", "1"), {
      code: 0,
      out: "yes: sensor-1 may publish devices/sensor-1/state at QoS 1\n  data/permissions.yaml:25: role device allows devices/${device}/# (here devices/sensor-1/#)\n",
      err: "",
    });
    assert.equal((await explain("sensor-1", "persistentSession")).code, 0);
    assert.equal((await explain("sensor-1", "retain", "devices/sensor-1/state")).code, 0);
  });

  it("explain says no with the reason, and ends with 1", async () => {
    for (const [args, reason] of [
      [
        ["sensor-1", "publish", "devices/sensor-2/x"],
        /: no rule of the role device allows publish there at QoS 0\n$/,
      ],
      [["sensor-1", "subscribe", "devices/#"], /: no rule of the role device allows subscribe there/],
      [["sensor-1", "shared", "$share/g/devices/sensor-1/x"], /allows shared there/],
      [["nobody", "publish", "a"], /: it has no roles\n$/],
      [["typo", "publish", "a"], /not in the permissions file: the role devise\n$/],
      [["anonymous", "subscribe", "a"], /not in the permissions file: the role anonymous\n$/],
    ] as const) {
      const { code, out } = await explain(...args);
      assert.equal(code, 1, out);
      assert.match(out, /^no: /);
      assert.match(out, reason);
    }
  });

  it("explain answers programs with JSON, and refuses what cannot be asked with exit code 2", async () => {
    const { out } = await explain("sensor-1", "will", "devices/sensor-1/x", "--json");
    const answer: unknown = JSON.parse(out);
    assert.deepEqual(answer, {
      device: "sensor-1",
      operation: "will",
      topic: "devices/sensor-1/x",
      qos: 0,
      file: "data/permissions.yaml",
      permitted: true,
      rules: [
        {
          line: 25,
          role: "device",
          effect: "allow",
          filter: "devices/${device}/#",
          bound: "devices/sensor-1/#",
        },
      ],
      remarks: [],
    });
    for (const args of [
      ["sensor-1", "publish"],
      ["sensor-1", "publish", "a/#"],
      ["sensor-1", "persistentSession", "a"],
      ["unknown", "publish", "a"],
      ["no/name", "publish", "a"],
      ["sensor-1", "fly", "a"],
      ["sensor-1", "publish", "a", "--qos", "3"],
    ])
      assert.equal((await explain(...args)).code, 2, args.join(" "));
  });

  it("check says what is wrong with file and line, for people and for programs", async () => {
    assert.deepEqual(await command("check", "--data", "data"), {
      code: 0,
      out: "data/permissions.yaml is good: administrator, device, observer\n",
      err: "",
    });
    writeFileSync(join(cwd, "bad.yaml"), "roles:\n  a:\n    rule: []\n");
    assert.deepEqual(await command("check", "bad.yaml"), {
      code: 2,
      out: "",
      err: `postern: bad.yaml:3: unknown key "rule" under roles.a; did you mean "rules"?\n`,
    });
    const { code, out } = await command("check", "bad.yaml", "--json");
    assert.equal(code, 2);
    assert.deepEqual(JSON.parse(out), {
      ok: false,
      file: "bad.yaml",
      problem: `unknown key "rule" under roles.a; did you mean "rules"?`,
      line: 3,
      key: "roles.a.rule",
      suggestion: "rules",
    });
    assert.equal((await command("check", "none.yaml")).code, 2);
    writeFileSync(join(cwd, "empty.yaml"), "");
    assert.match((await command("check", "empty.yaml")).err, /nobody may do anything/);
  });

  it("default prints what the first start writes", async () => {
    assert.equal((await command("default")).out, defaultPermissions);
  });

  it("test holds a file to its expectations, as the documentation shows", async () => {
    const [permissions = "", expectations = ""] = examples;
    writeFileSync(join(cwd, "plant-permissions.yaml"), permissions);
    writeFileSync(join(cwd, "expectations.yaml"), expectations);
    assert.deepEqual(await command("test", "expectations.yaml"), {
      code: 0,
      out: "9 expectations of plant-permissions.yaml: all are met\n",
      err: "",
    });
    writeFileSync(
      join(cwd, "permissions.yaml"),
      permissions.replace('"firmware/secret/#"', '"firmware/other/+"'),
    );
    writeFileSync(
      join(cwd, "expectations.yaml"),
      `${expectations}  - { device: pump-1, may: [publish], topics: [plant/north/pump-2/x] }\n  - { device: pump-1, mayNot: [subscribe], topics: [firmware/1] }\n`,
    );
    const { code, out } = await command("test", "expectations.yaml");
    assert.equal(code, 1);
    assert.equal(
      out,
      "expectations.yaml:9: pump-1 should be able to publish plant/north/pump-2/x at QoS 0, and may not: no rule of the role pump allows publish there at QoS 0\n" +
        "expectations.yaml:10: pump-1 should not be able to subscribe firmware/1 at QoS 0, and may\n" +
        "  plant-permissions.yaml:13: role pump allows firmware/#\n" +
        "11 expectations of plant-permissions.yaml: 2 are not met\n",
    );
    const json: unknown = JSON.parse((await command("test", "expectations.yaml", "--json")).out);
    assert.ok(
      typeof json === "object" && json !== null && "failures" in json && Array.isArray(json.failures),
    );
    assert.equal(json.failures.length, 2);
  });

  it("test says which payload rule counts on a topic, and what it demands", async () => {
    const rules = `payloads:
  - { topics: ["plant/+/orders/test"], require: none }
  - { topics: ["plant/+/orders/#"], require: signed+encrypted, maxAgeSeconds: 300 }
  - { topics: ["plant/+/meters/#"], require: [mac, signed] }
roles: { pump: { rules: [{ topics: ["plant/#"], allow: [publish] }] } }
`;
    writeFileSync(join(cwd, "sealed.yaml"), rules);
    const expectations = (list: string): void =>
      writeFileSync(
        join(cwd, "payloads.yaml"),
        `permissions: sealed.yaml\ndevices: { p: { roles: [pump] } }\n${list}`,
      );
    expectations(`payloads:
  - { topics: [plant/a/orders/x, plant/b/orders], require: signed+encrypted, maxAgeSeconds: 300 }
  - { topics: [plant/a/orders/test, plant/a/pressure], require: none }
  - { topics: [plant/a/meters/1], require: [signed, mac] }
`);
    assert.deepEqual(await command("test", "payloads.yaml"), {
      code: 0,
      out: "5 expectations of sealed.yaml: all are met\n",
      err: "",
    });
    expectations(`payloads:
  - { topics: [plant/a/orders/x], require: signed+encrypted, maxAgeSeconds: 60 }
  - { topics: [plant/a/pressure], require: signed }
  - { topics: [plant/a/meters/1], require: none }
expect:
  - { device: p, mayNot: [publish], topics: [plant/a/orders/x] }
`);
    assert.deepEqual(await command("test", "payloads.yaml"), {
      code: 1,
      out: `payloads.yaml:8: p should not be able to publish plant/a/orders/x at QoS 0, and may
  sealed.yaml:5: role pump allows plant/#
  sealed.yaml:3: payloads on plant/+/orders/# must be signed+encrypted, at most 300 s old
payloads.yaml:4: it is not so that payloads on plant/a/orders/x must be signed+encrypted, at most 60 s old
  sealed.yaml:3: payloads on plant/+/orders/# must be signed+encrypted, at most 300 s old
payloads.yaml:5: it is not so that payloads on plant/a/pressure must be signed
  no entry of sealed.yaml demands anything there
payloads.yaml:6: it is not so that payloads on plant/a/meters/1 need not be sealed
  sealed.yaml:4: payloads on plant/+/meters/# must be mac or signed; the broker has no key to check MACs
4 expectations of sealed.yaml: 4 are not met
`,
      err: "",
    });
    expectations("payloads: [{ topics: ['a/#'], require: signed }]\n");
    assert.match((await command("test", "payloads.yaml")).err, /must be the name of a topic/);
    expectations("");
    assert.match((await command("test", "payloads.yaml")).err, /it must have expect, payloads or both/);
  });

  it("test names the line of what cannot be asked, and a file that is missing", async () => {
    for (const [text, message] of [
      ["expect: []\n", /f\.yaml:1: expect must not be empty/],
      [
        "expect: [{ device: a, may: [publish], topics: [x] }]\n",
        /f\.yaml:1: expect\[0\] is about a, who is not under devices/,
      ],
      [
        "devices: { a: {} }\nexpect:\n  - { device: a, may: [publish], topics: ['#'] }\n",
        /f\.yaml:3: expect\[0\] cannot be asked/,
      ],
      ["expect: [{ may: [publish], mayNot: [publish], topics: [x] }]\n", /must have either may or mayNot/],
      ["expects: []\n", /did you mean "expect"/],
    ] as const) {
      writeFileSync(join(cwd, "f.yaml"), text);
      const { code, err } = await command("test", "f.yaml");
      assert.equal(code, 2);
      assert.match(err, message);
    }
    writeFileSync(
      join(cwd, "f.yaml"),
      "permissions: nowhere.yaml\nexpect: [{ may: [publish], topics: [x] }]\n",
    );
    assert.match((await command("test", "f.yaml")).err, /nowhere\.yaml: there is no such file/);
    assert.match((await command("test", "missing.yaml")).err, /cannot read missing\.yaml/);
  });
});
