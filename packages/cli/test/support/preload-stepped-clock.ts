// Has the process believe a clock that is wrong by the milliseconds in the file TEST_CLOCK_FILE, which may change at any time. Loaded with --import.
import { readFileSync } from "node:fs";

const file = process.env["TEST_CLOCK_FILE"] ?? "";
const now = Date.now.bind(Date);
let wrongByMs = 0;
setInterval(() => {
  wrongByMs = Number(readFileSync(file, "utf8")) || 0;
}, 20).unref();
Date.now = () => now() + wrongByMs;
