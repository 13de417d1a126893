// Has the process believe that it is TEST_CLOCK, an ISO date and time. Loaded with --import.
const shown = Date.parse(process.env["TEST_CLOCK"] ?? "");
Date.now = () => shown;
