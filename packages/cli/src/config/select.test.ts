import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { run } from "../main.ts";
import { fakeContext } from "../testing.ts";
import { selectConfiguration } from "./select.ts";

const anonymous = "listeners:\n  - url: mqtt://127.0.0.1:11883\n    anonymous: true\n";

describe("choice of configuration and data directory", () => {
  let cwd: string;
  before(() => {
    cwd = mkdtempSync(join(tmpdir(), "postern-config-"));
    mkdirSync(join(cwd, "etc"));
    mkdirSync(join(cwd, "own"));
    writeFileSync(join(cwd, "plain.yaml"), anonymous);
    writeFileSync(join(cwd, "bad.yaml"), "limits:\n  packetByteMax: 7\n");
    writeFileSync(join(cwd, "etc", "p.yaml"), `data: ../elsewhere\n`);
    writeFileSync(join(cwd, "own", "postern.yaml"), "log: { level: warn }\n");
  });
  after(() => rmSync(cwd, { recursive: true, force: true }));

  it("is all defaults and ./postern-data without options", () => {
    const { configuration, data } = selectConfiguration({}, cwd);
    assert.equal(configuration.file, undefined);
    assert.equal(data, join(cwd, "postern-data"));
  });

  it("takes postern.yaml in the data directory, unless another is named", () => {
    assert.equal(selectConfiguration({ data: "own" }, cwd).configuration.log.level, "warn");
    assert.equal(
      selectConfiguration({ data: "own", config: "plain.yaml" }, cwd).configuration.log.level,
      "info",
    );
  });

  it("takes the data directory that the file names, relative to it, unless another is named", () => {
    assert.equal(selectConfiguration({ config: "etc/p.yaml" }, cwd).data, join(cwd, "elsewhere"));
    assert.equal(selectConfiguration({ config: "etc/p.yaml", data: "x" }, cwd).data, join(cwd, "x"));
    writeFileSync(join(cwd, "own", "postern.yaml"), "data: x\n");
    assert.throws(
      () => selectConfiguration({ data: "own" }, cwd),
      /^ConfigError: own\/postern\.yaml:1: data has no meaning/,
    );
  });

  it("takes --bind for the default listeners only, and only an IP address", () => {
    const [first] = selectConfiguration({ bind: "0.0.0.0" }, cwd).configuration.listeners;
    assert.equal(first?.name, "mqtts://0.0.0.0:8883");
    assert.throws(
      () => selectConfiguration({ bind: "eth0" }, cwd),
      /^UsageError: --bind needs an IP address, not "eth0"/,
    );
    assert.throws(
      () => selectConfiguration({ bind: "::1", config: "plain.yaml" }, cwd),
      /plain\.yaml names its own/,
    );
  });

  it("is checked by `config check` with exit code 2 and the line, for people and for programs", async () => {
    const good = fakeContext({ cwd });
    assert.equal(await run(["config", "check", "plain.yaml"], good), 0);
    assert.equal(good.out(), "plain.yaml is good: mqtt://127.0.0.1:11883\n");
    const bad = fakeContext({ cwd });
    assert.equal(await run(["config", "check", "bad.yaml"], bad), 2);
    assert.equal(
      bad.err(),
      `postern: bad.yaml:2: unknown key "packetByteMax" under limits; did you mean "packetBytesMax"?\n`,
    );
    const json = fakeContext({ cwd });
    assert.equal(await run(["config", "check", "--json", "bad.yaml"], json), 2);
    assert.deepEqual(JSON.parse(json.out()), {
      ok: false,
      problem: `unknown key "packetByteMax" under limits; did you mean "packetBytesMax"?`,
      file: "bad.yaml",
      line: 2,
      key: "limits.packetByteMax",
      suggestion: "packetBytesMax",
    });
    const missing = fakeContext({ cwd });
    assert.equal(await run(["config", "check", "none.yaml"], missing), 2);
    assert.equal(missing.err(), "postern: none.yaml: cannot read the configuration: there is no such file\n");
  });

  it("is shown by `config show` with all defaults, as a file that can be used again", async () => {
    const shown = fakeContext({ cwd });
    assert.equal(await run(["config", "show", "--config", "plain.yaml"], shown), 0);
    assert.match(shown.out(), /anonymous: true/);
    assert.match(shown.out(), /packetBytesMax: 1048576/);
    writeFileSync(join(cwd, "again.yaml"), shown.out());
    const again = fakeContext({ cwd });
    assert.equal(await run(["config", "show", "--config", "again.yaml"], again), 0, again.err());
    assert.equal(again.out().split("\n").slice(1).join("\n"), shown.out().split("\n").slice(1).join("\n"));
  });
});
