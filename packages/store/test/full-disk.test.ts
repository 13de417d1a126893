import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import { temporaryDirectory } from "../src/testing/lmdb-under-test.ts";

/** In a mount name space of its own, so that nothing is left behind whatever happens. */
function onSmallDisk(directory: string, command: readonly string[]): ReturnType<typeof spawnSync> {
  const mount = 'mount -t tmpfs -o size=4m tmpfs "$0" && exec "$@"';
  return spawnSync("unshare", ["--mount", "sh", "-c", mount, directory, ...command], { encoding: "utf8" });
}

const directory = temporaryDirectory();
const canMount = onSmallDisk(directory, ["true"]).status === 0;

describe("a store on a full disk", () => {
  const skip = canMount ? false : "this user cannot mount a small file system to fill (root can)";
  it("says STORE_FULL, keeps what waits in order, and writes it once there is room", { skip }, () => {
    const filler = fileURLToPath(new URL("./full-disk-filler.ts", import.meta.url));
    const { status, signal, stderr } = onSmallDisk(directory, [process.execPath, filler, directory]);
    rmSync(directory, { recursive: true });
    assert.equal(signal, null);
    assert.equal(status, 0, String(stderr));
  });
});
