// Has the process believe that it may use four cores. Loaded with --import.
import { syncBuiltinESMExports } from "node:module";
import os from "node:os";

Object.defineProperty(os, "availableParallelism", { value: () => 4 });
syncBuiltinESMExports();
