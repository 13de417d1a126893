/** What the first line's `previous` is. */
export const beginning = "0".repeat(64);

/** The file that is written to. */
export const currentAuditFile = "audit.jsonl";

/** Of the files put aside, so many of the newest stay: 640 MiB in all. */
export const oldFilesMax = 9;

const old = /^audit-.*\.jsonl$/;

/** The names of a directory that are files put aside, oldest first. */
export function oldAuditFiles(names: readonly string[]): string[] {
  return names.filter((name) => old.test(name)).sort();
}

/** The names of a directory that are files of an audit log, in the order they were written. */
export function auditFiles(names: readonly string[]): string[] {
  return [...oldAuditFiles(names), ...(names.includes(currentAuditFile) ? [currentAuditFile] : [])];
}
