/** The kernel's clock and ours need not end something in the same instant. */
const toleranceSeconds = 2;

type Timed = { readonly remainingSeconds: number };

/** Whether the kernel has something that is not in the book or ends there earlier ("more"), or misses something ("less"). */
export function compareTimed<Item extends Timed>(
  inKernel: readonly Item[],
  inBook: readonly Item[],
  keyOf: (item: Item) => string,
): "more" | "less" | undefined {
  const kernel = remainingByKey(inKernel, keyOf);
  const book = remainingByKey(inBook, keyOf);
  if (exceeds(kernel, book)) return "more";
  return exceeds(book, kernel) ? "less" : undefined;
}

function remainingByKey<Item extends Timed>(
  items: readonly Item[],
  keyOf: (item: Item) => string,
): Map<string, number> {
  return new Map(items.map((item) => [keyOf(item), item.remainingSeconds]));
}

function exceeds(these: ReadonlyMap<string, number>, those: ReadonlyMap<string, number>): boolean {
  for (const [key, seconds] of these) {
    if (seconds > (those.get(key) ?? 0) + toleranceSeconds) return true;
  }
  return false;
}
