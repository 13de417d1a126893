import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { run } from "../src/main.ts";
import { fakeContext } from "../src/testing.ts";
import { postern } from "./support/postern.ts";

let directory: string;
let script: string;

before(async () => {
  directory = mkdtempSync(join(tmpdir(), "postern-completion-"));
  mkdirSync(join(directory, "folder"));
  writeFileSync(join(directory, "file one.json"), "");
  const { code, stdout } = await postern(["completion", "bash"]);
  assert.equal(code, 0);
  script = join(directory, "completion.bash");
  writeFileSync(script, stdout);
});
after(() => rmSync(directory, { recursive: true, force: true }));

/** What bash proposes for the last of these words, which is being typed. */
function proposed(...words: readonly string[]): string[] {
  const program = `source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _postern; ((\${#COMPREPLY[@]})) && printf '%s\\n' "\${COMPREPLY[@]}"; complete -p postern >/dev/null`;
  const bash = spawnSync("bash", ["--noprofile", "--norc", "-c", program, script, ...words], {
    cwd: directory,
    encoding: "utf8",
  });
  assert.equal(bash.stderr, "");
  assert.equal(bash.status, 0);
  return bash.stdout.split("\n").filter(Boolean);
}

const bashMissing =
  spawnSync("bash", ["-c", "true"]).status === 0 ? false : "bash is not installed (apt-get install bash)";

describe("completion in bash", { skip: bashMissing }, () => {
  it("completes commands, also of commands, and options", () => {
    assert.deepEqual(proposed("postern", "su"), ["sub"]);
    assert.deepEqual(proposed("postern", "sub", "--bu"), ["--bundle"]);
    assert.deepEqual(proposed("postern", "config", "ch"), ["check"]);
    assert.deepEqual(proposed("postern", "--ver"), ["--version"]);
    assert.deepEqual(proposed("postern", "pub", "--will-"), [
      "--will-topic",
      "--will-message",
      "--will-qos",
      "--will-retain",
    ]);
  });

  it("completes the values of options: choices, files, directories, after a blank or an equals sign", () => {
    assert.deepEqual(proposed("postern", "sub", "--qos", ""), ["0", "1", "2"]);
    assert.deepEqual(proposed("postern", "sub", "--format", "=", "j"), ["json"]);
    assert.deepEqual(proposed("postern", "sub", "--format", "="), ["payload", "topic", "json", "hex", "raw"]);
    assert.deepEqual(proposed("postern", "sub", "--bundle", "fi"), ["file one.json"]);
    assert.deepEqual(proposed("postern", "up", "--data", "f"), ["folder"]);
    assert.deepEqual(proposed("postern", "pub", "--client-id", ""), []);
  });

  it("completes arguments: files and choices; what only the user knows is left alone", () => {
    assert.deepEqual(proposed("postern", "config", "check", "fi"), ["file one.json"]);
    assert.deepEqual(proposed("postern", "completion", ""), ["bash", "zsh", "fish"]);
    assert.deepEqual(proposed("postern", "sub", "--qos", "1", ""), []);
  });

  it("goes on after the value of an option, which may be called as a command", () => {
    assert.deepEqual(proposed("postern", "sub", "--client-id", "config", "--bu"), ["--bundle"]);
  });
});

describe("completion in any shell", () => {
  it("knows every command and every option that the help shows", async () => {
    for (const shell of ["bash", "zsh", "fish"]) {
      const context = fakeContext();
      assert.equal(await run(["completion", shell], context), 0);
      const text = context.out();
      for (const name of ["up", "pub", "sub", "config", "check", "completion"])
        assert.ok(text.includes(name));
      for (const option of ["bundle", "retain-as-published", "no-clean", "will-retain"]) {
        assert.ok(text.includes(option), `${shell}: ${option}`);
      }
    }
  });

  it("is written for zsh and fish without unbalanced quotes", async () => {
    for (const shell of ["zsh", "fish"]) {
      const context = fakeContext();
      await run(["completion", shell], context);
      const withoutEscapes = context.out().replaceAll(/\\\\|\\'/g, "");
      for (const line of withoutEscapes.split("\n").filter((line) => !line.startsWith("#"))) {
        assert.equal((line.match(/'/g)?.length ?? 0) % 2, 0, line);
      }
    }
  });
});
