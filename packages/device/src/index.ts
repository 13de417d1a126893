export type { Bundle } from "@postern/core/bundle";
export { BundleError, PosternError } from "@postern/core/errors";
export { connect } from "./connect.ts";
export type { Device, DeviceEvents, DeviceState } from "./device.ts";
export {
  BeyondServerLimitError,
  ClosedError,
  ConnectionError,
  CredentialsError,
  DeviceFileError,
  PublishRefusedError,
  QueueFullError,
  SealError,
  ServerRefusedError,
  UnsendableError,
} from "./errors.ts";
export type { Message } from "./message.ts";
export type {
  ConnectOptions,
  PublishOptions,
  SealOptions,
  StatusOptions,
  SubscribeOptions,
} from "./options.ts";
export type { Published } from "./outbound.ts";
export type { Subscription } from "./subscription.ts";
export type { SealRule } from "./sealing/rules.ts";
export type { Refusal } from "./sealing/sealing.ts";
