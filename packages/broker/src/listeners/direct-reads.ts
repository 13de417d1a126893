import { Socket } from "node:net";

/** What is read is handed on before anything else is read: one piece of memory serves all sockets of a thread. */
const shared = Buffer.allocUnsafeSlow(65_536);

/** By which properties a socket keeps what the option `onread` of `net.Socket` says. */
interface Names {
  readonly buffer: symbol;
  readonly callback: symbol;
  readonly generator: symbol;
}

const names = namesOf();

/**
 * Has a socket read into memory that is there, and hands over what was read, which is to be looked at during the call only; false, with
 * nothing done, where that cannot be had.
 *
 * The runtime offers it to sockets that connect (option `onread`), and no way to ask for it for one that was accepted. Without it each
 * read allocates 64 KB, copies what came into another piece of memory of that size, and leaves both to the collector: a sixth of what a
 * message costs with many connections, and a multiple of what passing on 64 KB does. So the socket is given what the option would have.
 */
export function readDirectly(socket: Socket, onBytes: (bytes: Buffer) => void): boolean {
  const handle: unknown = Reflect.get(socket, "_handle");
  if (names === undefined || typeof handle !== "object" || handle === null) return false;
  const useUserBuffer: unknown = Reflect.get(handle, "useUserBuffer");
  // What has been read already comes as it always does.
  if (typeof useUserBuffer !== "function" || socket.readableLength > 0) return false;
  Reflect.set(socket, names.buffer, shared);
  Reflect.set(socket, names.callback, (count: number) => {
    onBytes(shared.subarray(0, count));
    return true;
  });
  Reflect.apply(useUserBuffer, handle, [shared]);
  return true;
}

/** Of the runtime that was looked at; what another one would make of it is not known. */
function namesOf(): Names | undefined {
  if (!process.versions.node.startsWith("24.")) return undefined;
  const options = { onread: { buffer: shared, callback: () => true } };
  const symbols = Object.getOwnPropertySymbols(new Socket(options));
  const named = (name: string): symbol | undefined => symbols.find(({ description }) => description === name);
  const buffer = named("kBuffer");
  const callback = named("kBufferCb");
  const generator = named("kBufferGen");
  return buffer === undefined || callback === undefined || generator === undefined
    ? undefined
    : { buffer, callback, generator };
}
