/**
 * HTTP of the runtime. From here and not by an import statement of `node:http`, which reads every name the module has: reading
 * `WebSocket` loads all of undici, a third of the time that a short command takes.
 */
export const { createServer, request } = process.getBuiltinModule("node:http");
