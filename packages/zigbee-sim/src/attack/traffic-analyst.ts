import { type Dissection } from "@postern/zigbee/dissection";
import { NwkFrameType } from "@postern/zigbee/nwk/nwk-frame";

/** An event and the frame that tells of it are that close. */
const toleranceUs = 500_000;
/** Times that vary by more than this share of their mean are not those of a clock. */
const irregularity = 0.25;
const framesMin = 4;

function isNear(time: number, others: readonly number[]): boolean {
  return others.some((other) => Math.abs(other - time) <= toleranceUs);
}

/**
 * Infers events without any key: frames of one device and one length that come at irregular times are what something outside caused;
 * regular ones are reports.
 */
export class TrafficAnalyst {
  readonly #times = new Map<string, number[]>();
  readonly #seen = new Set<string>();

  see({ nwk, mac, frame }: Dissection): void {
    if (nwk?.frameType !== NwkFrameType.data || mac.destinationShort === 0xffff) return;
    const repetition = `${nwk.sourceShort} ${nwk.sequence}`;
    if (this.#seen.has(repetition)) return;
    this.#seen.add(repetition);
    const group = `${nwk.sourceShort} ${nwk.destinationShort} ${frame.bytes.length}`;
    const times = this.#times.get(group) ?? [];
    times.push(frame.timeUs);
    this.#times.set(group, times);
  }

  /** When events happened, as far as frames to the coordinator tell. */
  inferred(): number[] {
    const events: number[] = [];
    for (const [group, times] of this.#times) {
      const isReport = group.split(" ")[1] === "0";
      const gaps = times.slice(1).map((time, index) => time - (times[index] ?? time));
      if (!isReport || gaps.length < framesMin) continue;
      const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
      const variance = gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / gaps.length;
      if (Math.sqrt(variance) / mean > irregularity) events.push(...times);
    }
    return events;
  }

  /** How well the inferred events match those that were: the harmonic mean of precision and recall. */
  score(events: readonly number[]): number {
    const inferred = this.inferred();
    const right = inferred.filter((time) => isNear(time, events)).length;
    const known = events.filter((time) => isNear(time, inferred)).length;
    if (right === 0 || known === 0) return 0;
    const precision = right / inferred.length;
    const recall = known / events.length;
    return (2 * precision * recall) / (precision + recall);
  }
}
