// Has the process believe that TEST_LATER_MS milliseconds more have gone by. Loaded with --import.
const laterMs = Number(process.env["TEST_LATER_MS"] ?? "0");
const now = Date.now.bind(Date);
Date.now = () => now() + laterMs;
