import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, it } from "node:test";

import { hostsRefused } from "@postern/gate/hosts/namespaces";

import { postern, PosternProcess } from "./support/postern.ts";

const refused = await hostsRefused();

/** Network namespaces of a process that is over. */
function left(pid: number | undefined): string[] {
  const { stdout } = spawnSync("ip", ["netns", "list"], { encoding: "utf8" });
  return stdout.split("\n").filter((line) => line.startsWith(`postern-${pid}-`));
}

describe("postern demo", refused === undefined ? {} : { skip: refused }, () => {
  it("tells the story of the thesis (3.8): each act as it should be, and nothing is left", async () => {
    await using demo = new PosternProcess(["demo", "--json"]);
    const { code, stdout, stderr } = await demo.ended;
    const acts = stdout
      .trim()
      .split("\n")
      .map((line): { title: string; ok: boolean; seen: string[] } => JSON.parse(line));
    assert.deepEqual(
      acts.filter(({ ok }) => !ok),
      [],
      stderr,
    );
    assert.equal(acts.length, 11, stderr);
    assert.equal(code, 0, stderr);
    assert.deepEqual(left(demo.child.pid), []);
  });

  it("takes everything away when it is interrupted", async () => {
    await using demo = new PosternProcess(["demo"]);
    await demo.until(/nmap gets no answer/);
    demo.signal("SIGINT");
    assert.equal((await demo.ended).code, 130);
    assert.deepEqual(left(demo.child.pid), []);
  });
});

describe("postern demo, where it cannot be", () => {
  it(
    "says what is missing",
    { skip: process.getuid?.() === 0 ? false : "only root can become somebody else" },
    async () => {
      const { code, stderr } = await postern(["demo"], { uid: 65_534, cwd: "/" });
      assert.equal(code, 1);
      assert.match(stderr, /^postern: Hosts cannot be made: only root may make network namespaces\.$/m);
    },
  );
});
