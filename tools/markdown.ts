/** What the checks read from a Markdown file. */
export type Document = {
  /** Cells of all table rows, trimmed, without header and rule, under the heading they stand below. */
  readonly rows: readonly { readonly heading: string; readonly cells: readonly string[] }[];
  /** Targets of links, as written. */
  readonly links: readonly string[];
  /** Names that a link may jump to. */
  readonly anchors: ReadonlySet<string>;
  /** Code in single backticks. */
  readonly code: readonly string[];
  readonly fences: readonly Fence[];
};

export type Fence = {
  /** The words behind the opening fence: `["sh", "run"]`. */
  readonly info: readonly string[];
  readonly text: string;
  readonly line: number;
};

/** Reads the parts of GitHub's Markdown that this project uses. Never fails. */
export function parseMarkdown(text: string): Document {
  const rows: { heading: string; cells: string[] }[] = [];
  const links: string[] = [];
  const anchors = new Set<string>();
  const code: string[] = [];
  const fences: Fence[] = [];
  let heading = "";
  let open: { info: string[]; lines: string[]; line: number } | undefined;

  for (const [index, line] of text.split("\n").entries()) {
    const fence = /^\s*```(.*)$/.exec(line);
    if (fence !== null && open === undefined) {
      open = { info: (fence[1] ?? "").trim().split(/\s+/), lines: [], line: index + 1 };
    } else if (fence !== null && open !== undefined) {
      fences.push({ info: open.info, text: open.lines.join("\n"), line: open.line });
      open = undefined;
    } else if (open !== undefined) {
      open.lines.push(line);
    } else {
      const title = /^#+\s+(.*)$/.exec(line)?.[1];
      if (title !== undefined) anchors.add(anchorOf((heading = title)));
      if (line.startsWith("|")) rows.push({ heading, cells: cellsOf(line) });
      for (const [, span] of line.matchAll(/`([^`]+)`/g)) code.push(span ?? "");
      for (const [, target] of line.replaceAll(/`[^`]*`/g, "").matchAll(/\]\(([^)\s]+)\)/g)) {
        links.push(target ?? "");
      }
    }
  }
  return { rows: withoutHeads(rows), links, anchors, code, fences };
}

function cellsOf(line: string): string[] {
  const cells = line
    .replaceAll("\\|", "\0")
    .split("|")
    .map((cell) => cell.replaceAll("\0", "|").trim());
  return cells.slice(1, -1);
}

type Row = Document["rows"][number];

/** A table's first row is its head when a rule stands below it. */
function withoutHeads(rows: readonly Row[]): Row[] {
  const isRule = (row: Row | undefined): boolean =>
    row?.cells.every((cell) => /^:?-+:?$/.test(cell)) === true;
  return rows.filter((row, index) => !isRule(row) && !isRule(rows[index + 1]));
}

/** As GitHub derives the anchor of a heading. */
function anchorOf(title: string): string {
  return title
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
    .replaceAll(" ", "-");
}
