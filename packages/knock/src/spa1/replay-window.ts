/** How far behind the highest counter a packet may arrive late. */
export const windowEntries = 64;

/** What must survive a restart of one device's window. */
export interface ReplayState {
  /** The highest counter that was accepted. */
  readonly highest: number;
  /** Bit n is set when `highest - n` was accepted; bit 0 always is. */
  readonly seen: bigint;
}

/** What a counter is, compared with those that were accepted. */
export type CounterVerdict = "fresh" | "replayed" | "too-old";

/** Judges a counter; `undefined` is the state of a device that never knocked. */
export function judgeCounter(state: ReplayState | undefined, counter: number): CounterVerdict {
  if (state === undefined || counter > state.highest) return "fresh";
  const behind = state.highest - counter;
  if (behind >= windowEntries) return "too-old";
  return (state.seen >> BigInt(behind)) & 1n ? "replayed" : "fresh";
}

/** The state after a fresh counter was accepted. */
export function acceptCounter(state: ReplayState | undefined, counter: number): ReplayState {
  if (state === undefined) return { highest: counter, seen: 1n };
  if (counter <= state.highest) {
    return { highest: state.highest, seen: state.seen | (1n << BigInt(state.highest - counter)) };
  }
  const ahead = counter - state.highest;
  const kept = ahead >= windowEntries ? 0n : BigInt.asUintN(windowEntries, state.seen << BigInt(ahead));
  return { highest: counter, seen: kept | 1n };
}
