/** The two clocks the system reads. Domain code is handed one, so that tests can move time by hand. */
export interface Clock {
  /** Milliseconds since 1970 UTC: for what is written down and must survive a restart (expiry, audit). */
  wallMs(): number;
  /** Milliseconds on a clock that never steps back: for time-outs and rates. */
  monotonicMs(): number;
}

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
};
