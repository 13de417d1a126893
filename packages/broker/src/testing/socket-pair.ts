import { connect, createServer, type Socket } from "node:net";

/** Both ends of a TCP connection, each of which ends only by itself; they are gone with `stack`. */
export async function socketPair(
  stack: DisposableStack,
): Promise<{ readonly ours: Socket; readonly theirs: Socket }> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const server = createServer({ allowHalfOpen: true }, resolve);
  stack.defer(() => void server.close());
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new TypeError("there is no port");
  const theirs = connect({ port: address.port, host: "127.0.0.1", allowHalfOpen: true });
  theirs.on("error", reject);
  stack.defer(() => void theirs.destroy());
  const ours = await promise;
  stack.defer(() => void ours.destroy());
  return { ours, theirs };
}
