import { closeSync, openSync } from "node:fs";
import { join, relative } from "node:path";

/** sockaddr_un holds 108 bytes with the final zero. */
const pathBytesMax = 107;

const adminSocketName = "admin.sock";

/** A path by which a Unix socket in a directory can be reached however long the directory's own path is. */
export interface SocketPath extends Disposable {
  readonly path: string;
}

/** The admin socket in `run`; see {@link unixSocketPath}. */
export function adminSocketPath(run: string, cwd: string): SocketPath {
  return unixSocketPath(run, adminSocketName, cwd);
}

/**
 * A socket in `run`, as the shortest path that the system takes: absolute, relative to the working directory, or
 * (Linux) through a descriptor of the directory, which is closed when the result is disposed of.
 */
export function unixSocketPath(run: string, name: string, cwd: string): SocketPath {
  const absolute = join(run, name);
  const candidates = [absolute, `./${relative(cwd, absolute)}`];
  const path = candidates.find((candidate) => Buffer.byteLength(candidate) <= pathBytesMax);
  if (path !== undefined) return { path, [Symbol.dispose]: () => {} };
  const descriptor = openSync(run, "r");
  return { path: `/proc/self/fd/${descriptor}/${name}`, [Symbol.dispose]: () => closeSync(descriptor) };
}
