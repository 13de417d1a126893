import { type ZodError } from "zod";

/** The first thing that is wrong with a file of JSON, with its place in it. */
export function fileIssue(name: string, { issues: [issue] }: ZodError): string {
  const place = issue === undefined || issue.path.length === 0 ? "" : `${issue.path.join(".")}: `;
  return `${name}: ${place}${issue?.message ?? "it is wrong"}`;
}
