import { z } from "zod";

import { bundleSchema } from "@postern/core/bundle";
import type { DeviceManager } from "@postern/identity/devices/manager";
import {
  addRequest,
  listRequest,
  removeRequest,
  revokeRequest,
  rotateRequest,
  setRequest,
} from "@postern/identity/devices/requests";
import { deviceViewSchema } from "@postern/identity/devices/view";

/** Something that is done to devices: by the running server, asked with `POST /devices/<name>`, or on the data directory when none runs. */
export interface DeviceOperation<Request extends object, Answer> {
  readonly name: string;
  readonly request: z.ZodType<Request>;
  readonly answer: z.ZodType<Answer>;
  readonly run: (manager: DeviceManager, request: Request) => Answer | Promise<Answer>;
}

const managed = z.object({ device: deviceViewSchema, bundle: bundleSchema.optional(), changed: z.boolean() });
export type ManagedAnswer = z.infer<typeof managed>;

function operation<Request extends object, Answer>(
  name: string,
  parts: Omit<DeviceOperation<Request, Answer>, "name">,
): DeviceOperation<Request, Answer> {
  return { name, ...parts };
}

export const deviceOperations = {
  add: operation("add", {
    request: addRequest,
    answer: managed,
    run: (manager, asked) => manager.add(asked),
  }),
  list: operation("list", {
    request: listRequest,
    answer: z.object({ devices: z.array(deviceViewSchema) }),
    run: (manager, asked) => ({ devices: manager.list(asked) }),
  }),
  show: operation("show", {
    request: removeRequest,
    answer: deviceViewSchema,
    run: (manager, { name }) => manager.show(name),
  }),
  set: operation("set", {
    request: setRequest,
    answer: managed,
    run: (manager, asked) => manager.set(asked),
  }),
  rotate: operation("rotate", {
    request: rotateRequest,
    answer: managed,
    run: (manager, asked) => manager.rotate(asked),
  }),
  revoke: operation("revoke", {
    request: revokeRequest,
    answer: managed,
    run: (manager, asked) => manager.revoke(asked),
  }),
  remove: operation("remove", {
    request: removeRequest,
    answer: managed,
    run: (manager, asked) => manager.remove(asked),
  }),
};
