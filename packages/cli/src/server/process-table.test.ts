import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { describe, it } from "node:test";

import { openFilesMax, portHolder, processDescription } from "./process-table.ts";

const skip = existsSync("/proc/self/stat") ? false : "this system has no /proc";

describe("process table", { skip }, () => {
  it("tells who listens on a port, IPv4 or IPv6, and that nobody does", async () => {
    for (const host of ["127.0.0.1", "::1"]) {
      const server = createServer().listen(0, host);
      await once(server, "listening");
      const address = server.address();
      const port = typeof address === "object" ? (address?.port ?? 0) : 0;
      assert.equal(portHolder(port), process.pid);
      server.close();
      await once(server, "close");
      assert.equal(portHolder(port), undefined);
    }
  });

  it("describes a process by its program", () => {
    assert.match(processDescription(process.pid) ?? "", /^node/);
    assert.equal(processDescription(2 ** 30), undefined);
  });

  it("knows how many files may be open", () => {
    assert.ok((openFilesMax() ?? 0) > 0);
  });
});
