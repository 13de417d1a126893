import type { OutputStream } from "../context.ts";

/** One act of the story: what is shown, what was seen, and whether that is what should be. */
export type Act = {
  readonly title: string;
  /** What was typed, if one thing was. */
  readonly command?: string;
  readonly seen: readonly string[];
  readonly ok: boolean;
  readonly ms: number;
};

/** Tells the story as it goes. */
export interface Narrator {
  begin(title: string): void;
  tell(act: Act): void;
  end(acts: readonly Act[]): void;
}

const paint = {
  bold: "\u001b[1m",
  dim: "\u001b[2m",
  green: "\u001b[32m",
  red: "\u001b[31m",
  cyan: "\u001b[36m",
  none: "\u001b[0m",
} as const;
type Colour = Exclude<keyof typeof paint, "none">;

/** For a person. */
export function textNarrator(stdout: OutputStream, colours: boolean): Narrator {
  const dye = (colour: Colour, text: string): string => (colours ? paint[colour] + text + paint.none : text);
  return {
    begin(title) {
      stdout.write(`${dye("bold", title)}\n\n`);
    },
    tell({ title, command, seen, ok, ms }) {
      const mark = ok ? dye("green", "✔") : dye("red", "✖");
      stdout.write(`${mark} ${dye("bold", title)} ${dye("dim", `${Math.round(ms)} ms`)}\n`);
      if (command !== undefined) stdout.write(`    ${dye("cyan", `$ ${command}`)}\n`);
      for (const line of seen) stdout.write(`    ${line}\n`);
      stdout.write("\n");
    },
    end(acts) {
      const failed = acts.filter(({ ok }) => !ok).length;
      const seconds = acts.reduce((sum, { ms }) => sum + ms, 0) / 1_000;
      stdout.write(
        failed === 0
          ? dye("green", `All ${acts.length} acts went as they should, in ${seconds.toFixed(1)} s.\n`)
          : dye("red", `${failed} of ${acts.length} acts did not go as they should.\n`),
      );
    },
  };
}

/** For a program: one object a line. */
export function jsonNarrator(stdout: OutputStream): Narrator {
  return {
    begin() {},
    tell: (act) => void stdout.write(`${JSON.stringify(act)}\n`),
    end() {},
  };
}
