import { errorText } from "@postern/core/errors";

import { FirewallUnavailableError } from "../errors.ts";

/** A pointer that C gave out. */
type Pointer = { readonly opaque: never };

/** The functions of libnftables and of the C library that the gate calls, in this process and on its main thread. */
export type Native = {
  readonly newContext: (flags: number) => Pointer | null;
  readonly freeContext: (context: Pointer) => void;
  readonly bufferOutput: (context: Pointer) => number;
  readonly bufferError: (context: Pointer) => number;
  readonly outputBuffer: (context: Pointer) => string | null;
  readonly errorBuffer: (context: Pointer) => string | null;
  readonly runCommands: (context: Pointer, commands: string) => number;
  readonly socket: (domain: number, type: number, protocol: number) => number;
  readonly send: (socket: number, bytes: Uint8Array, length: number, flags: number) => number;
  readonly receive: (socket: number, bytes: Uint8Array, length: number, flags: number) => number;
  readonly close: (socket: number) => number;
};

/** Loads both libraries. Rejects with `FirewallUnavailableError` when this machine does not have them. */
export async function loadNative(): Promise<Native> {
  if (process.platform !== "linux") {
    throw new FirewallUnavailableError(
      `Hiding ports needs the firewall of Linux (nftables), and this system is ${process.platform}.`,
    );
  }
  try {
    const { load } = await import("koffi");
    const nftables = load("libnftables.so.1");
    const libc = load(null);
    return {
      newContext: nftables.func("void *nft_ctx_new(uint32_t flags)"),
      freeContext: nftables.func("void nft_ctx_free(void *context)"),
      bufferOutput: nftables.func("int nft_ctx_buffer_output(void *context)"),
      bufferError: nftables.func("int nft_ctx_buffer_error(void *context)"),
      outputBuffer: nftables.func("const char *nft_ctx_get_output_buffer(void *context)"),
      errorBuffer: nftables.func("const char *nft_ctx_get_error_buffer(void *context)"),
      runCommands: nftables.func("int nft_run_cmd_from_buffer(void *context, const char *commands)"),
      socket: libc.func("int socket(int domain, int type, int protocol)"),
      send: libc.func("intptr_t send(int socket, const uint8_t *bytes, size_t length, int flags)"),
      receive: libc.func("intptr_t recv(int socket, uint8_t *bytes, size_t length, int flags)"),
      close: libc.func("int close(int socket)"),
    };
  } catch (thrown) {
    throw new FirewallUnavailableError(
      `Hiding ports needs libnftables, which cannot be loaded (${errorText(thrown)}). On Debian and Ubuntu: apt-get install libnftables1.`,
      { cause: thrown },
    );
  }
}
