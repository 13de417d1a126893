/** A service on the hidden port. Says "ready". */
import { once } from "node:events";
import { createServer } from "node:net";

import { servicePort } from "@postern/gate/testing/test-gate";

const server = createServer((socket) => socket.on("error", () => {})).listen(servicePort, "::");
await once(server, "listening");
console.log("ready");
