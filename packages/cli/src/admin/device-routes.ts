import type { DeviceManager } from "@postern/identity/devices/manager";
import type { FastifyInstance } from "fastify";

import { deviceOperations, type DeviceOperation } from "./device-protocol.ts";

/** Certification requests are larger than other requests, and there is room for some hundred roles. */
const bodyBytesMax = 262_144;

function route<Request extends object, Answer>(
  app: FastifyInstance,
  manager: DeviceManager,
  { name, request, run }: DeviceOperation<Request, Answer>,
): void {
  app.post(`/devices/${name}`, { bodyLimit: bodyBytesMax }, async ({ body }) =>
    run(manager, request.parse(body)),
  );
}

/** What the admin API does to devices. */
export function deviceRoutes(app: FastifyInstance, manager: DeviceManager): void {
  const { add, list, show, set, rotate, revoke, remove } = deviceOperations;
  route(app, manager, add);
  route(app, manager, list);
  route(app, manager, show);
  route(app, manager, set);
  route(app, manager, rotate);
  route(app, manager, revoke);
  route(app, manager, remove);
}
