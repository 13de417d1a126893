import type { AuditReport } from "@postern/audit/zigbee/audit";
import type { CaptureProblem } from "@postern/zigbee/capture/captured-frame";

import { visible } from "@postern/device/visible";

import { version } from "../version.ts";

/** The forms in which a report can be had. */
export const reportFormats = ["text", "json", "sarif", "html"] as const;

/** One of them. */
export type ReportFormat = (typeof reportFormats)[number];

/** The report as it is printed; what writes the form is loaded then. `problem`: why the capture could not be read to its end. */
export async function formattedReport(
  report: AuditReport,
  format: ReportFormat,
  { file, problem }: { readonly file: string; readonly problem: CaptureProblem | undefined },
): Promise<string> {
  switch (format) {
    case "text": {
      const { auditText } = await import("@postern/audit/zigbee/report-text");
      return report.frames > 0 || problem === undefined ? auditText(report, visible(file)) : "";
    }
    case "json": {
      const { auditJson } = await import("@postern/audit/zigbee/report-json");
      return `${JSON.stringify(auditJson(report, { file, problem }), undefined, 2)}\n`;
    }
    case "sarif": {
      const { sarifLog } = await import("@postern/audit/sarif");
      const { zigbeeRules } = await import("@postern/audit/zigbee/rules");
      const successful = problem === undefined && !report.hasWrongKeys;
      const log = sarifLog(report.findings, { rules: zigbeeRules, file, version, successful });
      return `${JSON.stringify(log, undefined, 2)}\n`;
    }
    case "html": {
      const { auditHtml } = await import("@postern/audit/zigbee/report-html");
      return auditHtml(report, { file, problem: problem?.reason });
    }
    default:
      return format satisfies never;
  }
}
