/** What of a total is kept for queues that hold little: a quarter. */
const keptDivisor = 4;

/** The bytes of all queues of one kind, and what they may come to. */
export interface QueueShares {
  readonly totalBytes: number;
  readonly totalBytesMax: number;
  /** Queues besides the one that asks in which something waits. */
  readonly others: number;
}

/** The bytes of a queue: now, and when the message came that is to be taken in. */
export interface QueueBytes {
  readonly held: number;
  readonly before: number;
}

/**
 * Whether a queue may take so many bytes more. The last quarter of the total is for queues that hold no more than their even part of that
 * quarter: readers that never read fill the rest, and those who read never find that there is no room for a moment. A queue that holds
 * more only may not grow there: its oldest message can make room for its newest.
 */
export function hasShare(
  { totalBytes, totalBytesMax, others }: QueueShares,
  { held, before }: QueueBytes,
  moreBytes: number,
): boolean {
  const total = totalBytes + moreBytes;
  if (total > totalBytesMax) return false;
  const keptBytes = totalBytesMax / keptDivisor;
  return (
    others === 0 ||
    total <= totalBytesMax - keptBytes ||
    held + moreBytes <= Math.max(keptBytes / others, before)
  );
}
