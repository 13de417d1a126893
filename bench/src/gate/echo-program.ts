/** Sends every datagram back to where it came from: no work, two wake-ups. Says "ready". */
import { createSocket } from "node:dgram";
import { once } from "node:events";

import { echoPort } from "./ports.ts";

const socket = createSocket("udp4");
socket.on("message", (bytes, { address, port }) => socket.send(bytes, port, address));
socket.bind(echoPort);
await once(socket, "listening");
console.log("ready");
