import type { Wording } from "@postern/device/explain";
import { ReasonCode } from "@postern/mqtt/reason-codes";

/** How what can be changed is called on a command line. */
export const commandLineWording: Wording = {
  olderVersion: " (--mqtt-version 3.1.1)",
  connack: new Map([
    [ReasonCode.unsupportedProtocolVersion, "choose another --mqtt-version"],
    [ReasonCode.clientIdentifierNotValid, "choose another --client-id"],
    [ReasonCode.badUserNameOrPassword, "check --username and the password"],
    [ReasonCode.qosNotSupported, "choose a lower --will-qos"],
    [ReasonCode.retainNotSupported, "leave out --will-retain"],
  ]),
};
