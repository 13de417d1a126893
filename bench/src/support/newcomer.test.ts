import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";

const program = join(import.meta.dirname, "../run.ts");

describe("npm run bench", () => {
  for (const { args, says } of [
    { args: ["no-such-scenario"], says: /^there is no scenario no-such-scenario; --list names them\n$/ },
    { args: ["--jsn", "x"], says: /^Unknown option '--jsn'; --help names the options\n$/ },
    { args: ["--against", "/nowhere"], says: /^--against wants the directory of another copy .*\n$/ },
  ]) {
    it(`says in one sentence what was typed wrongly, and ends with 2: ${args.join(" ")}`, () => {
      const { stderr, status } = spawnSync(process.execPath, [program, ...args], { encoding: "utf8" });
      assert.match(stderr, says);
      assert.equal(status, 2);
    });
  }

  it("ends with 1 when a broker that was asked for cannot be reached", { timeout: 60_000 }, () => {
    const args = ["20-pairs-qos0", "--rounds", "1", "--seconds", "0.1", "--only", "nobody"];
    const asked = ["--broker", "nobody=mqtt://127.0.0.1:1"];
    const { stderr, status } = spawnSync(process.execPath, [program, ...args, ...asked], {
      encoding: "utf8",
    });
    assert.match(stderr, /^!! 20-pairs-qos0 cannot be measured with nobody: .*ECONNREFUSED/m);
    assert.match(stderr, /^nobody was asked for, and nothing of it could be measured/m);
    assert.equal(status, 1);
  });

  it("leaves no server and no directory behind when it is told to end", { timeout: 60_000 }, async () => {
    const temporary = mkdtempSync(join(tmpdir(), "postern-newcomer-"));
    try {
      const child = spawn(process.execPath, [program, "fan-out-qos0", "--only", "relay"], {
        env: { ...process.env, TMPDIR: temporary },
        stdio: "ignore",
      });
      const ended = once(child, "close");
      // The server has begun to write its data.
      while (readdirSync(temporary, { recursive: true }).length < 5)
        await new Promise((done) => setTimeout(done, 20));
      child.kill("SIGTERM");
      await ended;
      assert.deepEqual(readdirSync(temporary), []);
    } finally {
      rmSync(temporary, { recursive: true, force: true });
    }
  });
});
