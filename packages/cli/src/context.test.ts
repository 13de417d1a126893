import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { programName } from "./context.ts";

describe("the name of the program in printed commands", () => {
  const cwd = "/srv/me/postern";
  const script = "/srv/me/postern/packages/cli/bin/postern.js";

  it("is what one types to start it again", () => {
    const table: readonly (readonly [env: Record<string, string>, script: string, name: string])[] = [
      [{}, "/usr/local/bin/postern", "postern"],
      [{}, script, "node packages/cli/bin/postern.js"],
      [{}, "/srv/me/a b/postern.js", "node '../a b/postern.js'"],
      [{ npm_lifecycle_event: "start", npm_command: "start" }, script, "npm run -s postern --"],
      [{ npm_lifecycle_event: "postern", npm_command: "run-script" }, script, "npm run -s postern --"],
      [
        { npm_lifecycle_event: "npx", npm_command: "exec" },
        "/srv/me/node_modules/.bin/postern",
        "npx postern",
      ],
    ];
    for (const [env, path, name] of table) assert.equal(programName({ env, cwd }, path), name);
  });
});
