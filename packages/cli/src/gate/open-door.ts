import type { EnrolmentKnock } from "@postern/device/knock";
import type { DataDirectory } from "@postern/identity/data-directory";
import type { DeviceRegistry } from "@postern/identity/registry";
import { deriveKnockSecret } from "@postern/knock/spa1/keys";

import { unixSocketPath } from "../admin/socket-path.ts";
import type { GateConfiguration } from "../config/gate.ts";
import type { ServerOptions } from "../server/server.ts";
import { knockOf, type KnockOf } from "./bundle-knock.ts";
import { Door } from "./door.ts";
import { gateSocketName, readGateIdentity, type GateIdentity } from "./gate-files.ts";
import { enrolmentService, estIsHidden } from "./guard.ts";
import type { Visitor } from "./visitors.ts";

/** The server's side of the gate, where there is one. */
export interface OpenDoor extends Disposable {
  readonly doorkeeper: Door | undefined;
  /** How a device knocks; `undefined` when it need not. */
  readonly knock: KnockOf | undefined;
  /** The way to a hidden enrolment server; `undefined` when it is not hidden. */
  readonly enrolment: EnrolmentDoor | undefined;
}

/** What the enrolment server needs of the door. */
export interface EnrolmentDoor {
  readonly door: Door;
  /** How somebody knocks who has no bundle yet. */
  knockOf(visitor: Visitor): EnrolmentKnock;
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
    return { doorkeeper: undefined, knock: undefined, enrolment: undefined, [Symbol.dispose]: () => {} };
  }
  using stack = new DisposableStack();
  const socket = stack.use(unixSocketPath(directory.run, gateSocketName, cwd));
  const doorkeeper = stack.use(new Door({ gate, socket: socket.path, registry, log }));
  const closing = stack.move();
  const hidesEnrolment = estIsHidden(configuration);
  return {
    doorkeeper,
    knock: knockOf(gate, identity, hidesEnrolment),
    enrolment: hidesEnrolment ? enrolmentDoor(doorkeeper, gate, identity) : undefined,
    [Symbol.dispose]: () => closing.dispose(),
  };
}

function enrolmentDoor(
  door: Door,
  { port }: GateConfiguration,
  { gateId, master }: GateIdentity,
): EnrolmentDoor {
  return {
    door,
    knockOf: ({ name, tenant }) => ({
      gate: gateId,
      port,
      secret: deriveKnockSecret(master, { tenant, device: name, keyVersion: 1 }).toString("base64"),
      service: enrolmentService,
    }),
  };
}
