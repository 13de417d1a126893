/** Why nothing is read from a connection: reading goes on when no reason is left. */
export const PauseReason = { authentication: 1, rate: 2, store: 4, output: 8, disk: 16, checks: 32 } as const;
export type PauseReason = (typeof PauseReason)[keyof typeof PauseReason];
