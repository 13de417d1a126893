import assert from "node:assert/strict";

import type { AcceptedState } from "@postern/core/session-store";
import { ReplayGuard, type GuardVerdict } from "@postern/seal/replay/replay-guard";
import type { Position } from "@postern/seal/envelope/position";

/** Senders whose accepted messages are remembered, up to a kilobyte each. Beyond that, nothing of further ones is accepted. */
const acceptedSendersMax = 100_000;

/** A message as far as accepting it once goes. */
export interface AcceptedPlace extends Position {
  readonly sender: string;
  /** Whether it was proved to be of that sender, and not only claimed. */
  readonly isProved: boolean;
}

/** What takes the place of epochs, which positions do not depend on: what only claims to be of a sender must not spoil its window. */
const proved = 0;
const claimed = 1;

/**
 * Which messages of which senders were accepted. A sender never uses a position twice, whatever the topic and the epoch of the key,
 * so it has one window for each of its newest four instances.
 */
export class AcceptedTable {
  readonly #guards = new Map<string, ReplayGuard>();
  readonly #changed = new Set<string>();

  load({ sender, state }: AcceptedState): void {
    const guard = ReplayGuard.decode(state, { ahead: 0 });
    assert(guard !== undefined, `what was kept of the messages of "${sender}" cannot be read`);
    this.#guards.set(sender, guard);
  }

  judge({ sender, isProved, instance, sequence }: AcceptedPlace): GuardVerdict {
    const guard = this.#guards.get(sender);
    if (guard !== undefined)
      return guard.judge({ epoch: isProved ? proved : claimed, sender, instance, sequence });
    return this.#guards.size < acceptedSendersMax ? "fresh" : "too-many-senders";
  }

  /** Remembers a message that `judge` found fresh. */
  accept({ sender, isProved, instance, sequence }: AcceptedPlace): void {
    let guard = this.#guards.get(sender);
    if (guard === undefined) {
      guard = new ReplayGuard({ ahead: 0 });
      this.#guards.set(sender, guard);
    }
    guard.accept({ epoch: isProved ? proved : claimed, sender, instance, sequence });
    this.#changed.add(sender);
  }

  /** What has changed since the last call, to be kept. */
  take(): readonly AcceptedState[] {
    if (this.#changed.size === 0) return nothing;
    const states = Array.from(this.#changed, (sender): AcceptedState => {
      const state = this.#guards.get(sender)?.encode({ exact: true });
      assert(state !== undefined);
      return { sender, state };
    });
    this.#changed.clear();
    return states;
  }
}

const nothing: readonly AcceptedState[] = [];
