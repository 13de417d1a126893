import { PosternError } from "@postern/core/errors";

/** This process cannot use the kernel's firewall: another system, no libnftables, no right to it. Nothing was changed. */
export class FirewallUnavailableError extends PosternError {
  readonly code = "FIREWALL_UNAVAILABLE";
}

/** The kernel refused a change. Nothing of it has happened. */
export class FirewallRefusedError extends PosternError {
  readonly code = "FIREWALL_REFUSED";
}

/** As many windows are open as there may be. Nothing was opened. */
export class FirewallFullError extends PosternError {
  readonly code = "FIREWALL_FULL";
}

/** A network of hosts in namespaces cannot be made or used on this machine. */
export class HostsError extends PosternError {
  readonly code = "HOSTS";
}

/** The gate's own files cannot be read or written. */
export class GateStateError extends PosternError {
  readonly code = "GATE_STATE";
}

/** The gate's socket: nobody answers there, or somebody of another version. */
export class GateLinkError extends PosternError {
  readonly code = "GATE_LINK";
}

/** A port that the gate listens on for knocks cannot be opened. */
export class GateListenError extends PosternError {
  readonly code = "GATE_LISTEN";
}
