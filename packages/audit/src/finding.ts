/** From harmless to fatal. */
export const severities = ["info", "low", "medium", "high", "critical"] as const;
export type Severity = (typeof severities)[number];

/** How sure it is that the finding is what its title says. */
export const confidences = ["possible", "probable", "certain"] as const;
export type Confidence = (typeof confidences)[number];

/** One thing to look at: a frame, what of it matters, decoded. */
export interface Evidence {
  /** Number of the frame in the capture, from 1, as other tools count. */
  readonly frame: number;
  readonly timeUs: number;
  /** The frame in hexadecimal, keys masked. */
  readonly bytes: string;
  /** What was decoded of it and what it was compared with. */
  readonly fields: Readonly<Record<string, string | number>>;
}

/** What a rule is, whatever it finds. */
export interface Rule {
  readonly title: string;
  readonly severity: Severity;
  /** Section of the thesis and its name for the vulnerability. */
  readonly thesis: string;
  /** Requirements of the OWASP IoT Security Verification Standard. */
  readonly isvs: readonly string[];
  /** What to do about it. */
  readonly mend: string;
}

/** A rule that has found something at one place. */
export interface Finding extends Rule {
  readonly id: string;
  readonly confidence: Confidence;
  /** What it was found at: a network, a device. */
  readonly subject: string;
  /** What was seen, in a sentence with numbers. */
  readonly summary: string;
  /** Numbers of all frames concerned, up to a limit. */
  readonly frames: readonly number[];
  /** The first of them in detail. */
  readonly evidence: readonly Evidence[];
  /** How many frames there were, `frames` being cut or not. */
  readonly frameCount: number;
  /** It stood in the report that this one is compared with. */
  readonly known?: boolean;
}

/** Whether `severity` is `threshold` or worse. */
export function isAtLeast(severity: Severity, threshold: Severity): boolean {
  return severities.indexOf(severity) >= severities.indexOf(threshold);
}

/** Frame numbers as people write them: `17, 20-22`. */
export function frameRanges(frames: readonly number[]): string {
  const ranges: string[] = [];
  for (let index = 0; index < frames.length;) {
    let end = index;
    while ((frames[end + 1] ?? -1) === (frames[end] ?? 0) + 1) end++;
    const from = frames[index] ?? 0;
    const to = frames[end] ?? 0;
    ranges.push(to > from + 1 ? `${from}-${to}` : to > from ? `${from}, ${to}` : `${from}`);
    index = end + 1;
  }
  return ranges.join(", ");
}
