/** Resolves when this thread has looked at all sockets that have something to read now. */
export async function turns(): Promise<void> {
  // The first turn may have begun already.
  for (let turn = 0; turn < 2; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
