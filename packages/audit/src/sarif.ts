import { placeOf } from "./baseline.ts";
import { type Finding, type Rule, type Severity } from "./finding.ts";

/** How SARIF calls how bad it is, and what code scanning sorts by. @see SARIF 2.1.0 §3.27.10 */
const levels: Readonly<Record<Severity, { readonly level: string; readonly score: string }>> = {
  info: { level: "note", score: "0.0" },
  low: { level: "note", score: "3.0" },
  medium: { level: "warning", score: "5.0" },
  high: { level: "error", score: "8.0" },
  critical: { level: "error", score: "9.5" },
};

/**
 * Findings as a SARIF 2.1.0 log, ready for JSON. `file` is the artifact; a frame number stands for a line, since a capture
 * has no lines. `successful`: the artifact was read to its end.
 */
export function sarifLog(
  findings: readonly Finding[],
  options: {
    readonly rules: Readonly<Record<string, Rule>>;
    readonly file: string;
    readonly version: string;
    readonly successful: boolean;
  },
): Record<string, unknown> {
  const uri = options.file.replaceAll("\\", "/").split("/").map(encodeURIComponent).join("/");
  const ids = Object.keys(options.rules);
  return {
    $schema: "https://json.schemastore.org/sarif-2.1.0.json",
    version: "2.1.0",
    runs: [
      {
        tool: {
          driver: {
            name: "postern zigbee audit",
            version: options.version,
            rules: Object.entries(options.rules).map(([id, rule]) => ({
              id,
              shortDescription: { text: rule.title },
              help: { text: rule.mend },
              defaultConfiguration: { level: levels[rule.severity].level },
              properties: {
                "security-severity": levels[rule.severity].score,
                tags: ["security", ...rule.isvs.map((name) => `OWASP ISVS ${name}`)],
                thesis: rule.thesis,
              },
            })),
          },
        },
        invocations: [{ executionSuccessful: options.successful }],
        results: findings.map((finding) => ({
          ruleId: finding.id,
          ruleIndex: ids.indexOf(finding.id),
          level: levels[finding.severity].level,
          message: { text: `${finding.title}: ${finding.summary}, ${finding.subject}` },
          locations: finding.frames.slice(0, 10).map((frame) => ({
            physicalLocation: { artifactLocation: { uri }, region: { startLine: frame } },
            logicalLocations: [{ name: finding.subject }],
          })),
          partialFingerprints: { place: placeOf(finding) },
          // Of a run that is compared with another, all results say so (SARIF 2.1.0 §3.27.24).
          ...(finding.known === undefined ? {} : { baselineState: finding.known ? "unchanged" : "new" }),
          properties: {
            confidence: finding.confidence,
            frameCount: finding.frameCount,
            evidence: finding.evidence,
          },
        })),
      },
    ],
  };
}
