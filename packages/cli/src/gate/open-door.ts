import type { DataDirectory } from "@postern/identity/data-directory";
import type { DeviceRegistry } from "@postern/identity/registry";

import { unixSocketPath } from "../admin/socket-path.ts";
import type { ServerOptions } from "../server/server.ts";
import { knockOf, type KnockOf } from "./bundle-knock.ts";
import { Door } from "./door.ts";
import { gateSocketName, readGateIdentity } from "./gate-files.ts";

/** The server's side of the gate, where there is one. */
export interface OpenDoor extends Disposable {
  readonly doorkeeper: Door | undefined;
  /** How a device knocks; `undefined` when it need not. */
  readonly knock: KnockOf | undefined;
}

/** Joins the server to the gate that was started beside it. @throws {GateStateError} when the gate's key cannot be read. */
export function openDoor(
  { configuration, besideGate = false, cwd, data, log }: ServerOptions,
  directory: DataDirectory,
  registry: DeviceRegistry,
): OpenDoor {
  const { gate } = configuration;
  const identity = gate === undefined ? undefined : readGateIdentity(data);
  if (!besideGate || gate === undefined || identity === undefined) {
    return { doorkeeper: undefined, knock: undefined, [Symbol.dispose]: () => {} };
  }
  using stack = new DisposableStack();
  const socket = stack.use(unixSocketPath(directory.run, gateSocketName, cwd));
  const doorkeeper = stack.use(new Door({ gate, socket: socket.path, registry, log }));
  const closing = stack.move();
  return { doorkeeper, knock: knockOf(gate, identity), [Symbol.dispose]: () => closing.dispose() };
}
