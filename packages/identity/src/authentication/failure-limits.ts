import { z } from "zod";

const count = (most: number) => z.int().min(1).max(most);

/** `authentication.failures` in the configuration; docs/LIMITS.md gives the reason for each default. */
export const failureLimitsSchema = z.strictObject({
  failuresPerPairMax: count(1_000).optional(),
  failuresPerSourceMax: count(1_000_000).optional(),
  failuresPerIdentityMax: count(1_000_000).optional(),
  attemptsPerSourceMax: count(10_000).optional(),
  backOffSecondsMax: count(86_400).optional(),
  forgetSeconds: count(86_400).optional(),
  rememberedMax: count(10_000_000).optional(),
});

/** What failures may come before they cost time, and how much is remembered of them. */
export interface FailureLimits {
  /** Failures of one source for one identity before it has to wait. */
  readonly failuresPerPairMax: number;
  /** Failures of one source, whatever it claims to be. */
  readonly failuresPerSourceMax: number;
  /** Failures for one identity, wherever they come from, before strangers wait. */
  readonly failuresPerIdentityMax: number;
  /** Attempts of one source that may be looked at at once. */
  readonly attemptsPerSourceMax: number;
  /** What the doubling wait stops at. */
  readonly backOffSecondsMax: number;
  /** After this time without a failure nothing is held against anybody. */
  readonly forgetSeconds: number;
  /** Sources, identities and pairs that are remembered, each. */
  readonly rememberedMax: number;
}

export const defaultFailureLimits: FailureLimits = {
  failuresPerPairMax: 5,
  failuresPerSourceMax: 50,
  failuresPerIdentityMax: 100,
  attemptsPerSourceMax: 64,
  backOffSecondsMax: 300,
  forgetSeconds: 900,
  rememberedMax: 20_000,
};
