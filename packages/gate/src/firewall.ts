import type { IpAddress, IpSource } from "@postern/knock/ip-address";

/** TCP connections that a window lets be made. Several windows may be open for one source. */
export interface WindowTarget {
  readonly source: IpAddress;
  /** The client's source port; 0 for any. */
  readonly sourcePort: number;
  /** The server's ports. */
  readonly ports: readonly number[];
}

export interface BannedSource {
  readonly source: IpSource;
  /** Until the kernel lets go of it by itself. */
  readonly remainingSeconds: number;
}

export interface KernelWindow {
  readonly source: IpAddress;
  readonly sourcePort: number;
  readonly port: number;
  readonly remainingSeconds: number;
}

/**
 * What the gate asks of the kernel. Each call is one atomic change and resolves when the kernel has it; calls take effect
 * in the order they were made. Everything is limited in time by the kernel itself, so that a dead gate closes what it opened.
 * Rejects with a `PosternError` when the kernel refuses; then nothing of the call has happened.
 */
export interface Firewall extends AsyncDisposable {
  /** Opens the target for `seconds` from now, whether it was open or not; also for a banned source. */
  openWindow(target: WindowTarget, seconds: number): Promise<void>;
  /** New connections are refused at once; those that are established stay. Closing what is not open does nothing. */
  closeWindow(target: WindowTarget): Promise<void>;
  /** Refuses new connections of the source for `seconds` from now, except where a window is open; established ones stay. Knock packets still arrive. */
  ban(source: IpSource, seconds: number): Promise<void>;
  /** Lifting a ban that is not there does nothing. */
  unban(source: IpSource): Promise<void>;
  listWindows(): Promise<readonly KernelWindow[]>;
  listBans(): Promise<readonly BannedSource[]>;
}
