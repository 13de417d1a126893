/** Connections that are begun at once, unless more are asked for. */
const atOnceMax = 64;

/** Does this for all, some at a time. */
export async function inTurns<T>(items: readonly T[], act: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < items.length) {
      const item = items[next];
      next += 1;
      if (item !== undefined) await act(item);
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnceMax, items.length) }, worker));
}

export function indices(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}
