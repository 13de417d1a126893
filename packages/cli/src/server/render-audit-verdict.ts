import { printable } from "../admin/render-status.ts";
import type { AuditVerdict } from "./verify-audit-log.ts";

/** What became of an audit log, for people. */
export function renderAuditVerdict(verdict: AuditVerdict): string {
  const { intact, problems, notes, files, lines, from, until, head } = verdict;
  const events = `${lines.toLocaleString("en-US")} ${lines === 1 ? "event" : "events"} in ${files} ${files === 1 ? "file" : "files"}`;
  const period = from === undefined || until === undefined ? "" : `, ${from} to ${until}`;
  const text = [
    `${intact ? "intact" : "BROKEN"}: ${events}${period}`,
    ...problems.map(({ file, line, problem }) => `  ${file}:${line} ${problem}`),
    ...notes.map((note) => `  note: ${note}`),
    `head ${head}`,
  ];
  return `${text.map(printable).join("\n")}\n`;
}
