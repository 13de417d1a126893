// Has every write to a new file of ours fail as on a full disk. Loaded with --import.
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";

const { writeSync } = fs;
Object.defineProperty(fs, "writeSync", {
  value: (descriptor: number, ...rest: unknown[]): unknown => {
    if (descriptor > 2) {
      throw Object.assign(new Error("ENOSPC: no space left on device, write"), {
        code: "ENOSPC",
        errno: -28,
        syscall: "write",
      });
    }
    return Reflect.apply(writeSync, fs, [descriptor, ...rest]);
  },
});
syncBuiltinESMExports();
