import { quantity } from "../report-text.ts";
import { precision, recall, type Scores } from "./scores.ts";

/** The scores as the page `docs/zigbee-detectors.md`. */
export function scoresMarkdown(scores: Scores): string {
  const rows = scores.rules.map((score) => {
    const { rule, found, missed, falseAlarms, quiet } = score;
    const shares = [precision(score), recall(score)].map((share) => quantity(100 * share, 1, " %"));
    return `| \`${rule}\` | ${shares.join(" | ")} | ${found} | ${missed} | ${falseAlarms} | ${quiet} |`;
  });
  const unseen = scores.attacks.filter(({ rules }) => rules.length === 0);
  const others = [...scores.others].map(([where, times]) => `| ${where} | ${times} of ${scores.seeds} |`);
  return [
    "# How well the Zigbee audit finds attacks",
    "",
    `Scored on ${scores.runs} simulated captures: ${scores.attacks.length} attacks, each without attack, with it, and with it against the defence, with ${scores.seeds} seeds each. What is true is what the simulation`,
    "knows; the auditor is given the capture and the keys of the network. Written by",
    "",
    "```sh",
    `postern zigbee lab --seeds ${scores.seeds} --detectors docs/zigbee-detectors.md`,
    "```",
    "",
    "Precision: of the captures in which a rule found something, those in which it was there. Recall: of the captures in which it was there, those in which it was found.",
    "",
    "| rule | precision | recall | found | missed | false alarms | rightly quiet |",
    "|---|---|---|---|---|---|---|",
    ...rows,
    "",
    `In ${scores.calmRuns} captures without an attacker there were ${scores.calmFalseAlarms} false alarms of these rules. What is true of a network without an attacker (a well-known link key, a key in clear) counts as found.`,
    "",
    ...(others.length === 0
      ? []
      : [
          "## What other rules found",
          "",
          "These rules describe a consequence or a setting and have no truth of their own to be scored against.",
          "",
          "| rule, attack, condition | captures |",
          "|---|---|",
          ...others,
          "",
        ]),
    "## What no rule can see",
    "",
    "Who only listens leaves nothing in a capture: with the attacker it is, byte for byte, the one without it (`lab.test.ts`). That is so of",
    "",
    ...unseen.map(({ id, title }) => `- \`${id}\`: ${title.charAt(0).toLowerCase()}${title.slice(1)}`),
    "",
    "`ZB-ACK-FORGED` needs the strength of signals: the sniffer of its attack stands at a place and writes it down. Without it, `ZB-UNCONFIRMED` finds",
    "messages that are confirmed hop by hop and never end to end, whatever the reason, where a network uses APS acknowledgements.",
    "`ZB-MIC-FAILED` has nothing to find at level 4, whose frames have no integrity code. The theft of a key cannot be seen, only its use (`ZB-IDENTITY`).",
    "Of a jammed network that leaves its channel within seconds a sniffer on that channel hears nothing more: its capture ends, and so may any other.",
    "",
  ].join("\n");
}
