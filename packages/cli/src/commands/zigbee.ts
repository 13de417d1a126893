import { type Command, Option } from "commander";

import type { CommandContext } from "../context.ts";
import type { AuditCommandOptions } from "../zigbee/audit-command.ts";
import type { ChecklistCommandOptions } from "../zigbee/checklist-command.ts";
import type { KeyhuntCommandOptions } from "../zigbee/keyhunt-command.ts";
import type { LabCommandOptions } from "../zigbee/lab-command.ts";
import type { SimCommandOptions } from "../zigbee/sim-command.ts";
import type { WatchCommandOptions } from "../zigbee/watch-command.ts";

function collected(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

/** `postern zigbee audit|sim|lab|keyhunt|checklist|watch`. */
export function registerZigbee(program: Command, context: CommandContext): void {
  const zigbee = program.command("zigbee").description("look at the security of Zigbee networks");
  zigbee
    .command("audit")
    .argument("<file>", "pcap, pcapng or Daintree capture, also gzip; - for standard input")
    .description("say what is wrong with the networks in a capture, with evidence and what to do about it")
    .option(
      "--key <hex>",
      "a network, link or MAC key; may be given again (seen by other users: see --key-file)",
      collected,
    )
    .option("--install-code <code>", "[address=]install code with CRC; may be given again", collected)
    .option("--key-file <file>", "keys and install codes, one to a line")
    .option("--cbke <file>", "secrets of devices that establish keys by certificates (JSON)")
    .option("--level <number>", "security level of NWK and APS frames (default: found out; 4 cannot be)")
    .option("--fcs <format>", "what ends a frame of link type 195: auto, crc, ti, unchecked, none", "auto")
    .option("--format <format>", "text, json, sarif or html", "text")
    .addOption(
      new Option("--fail-on <severity>", "end with 1 from this severity on: info … critical, never").default(
        "high",
      ),
    )
    .option("--inventory <file>", "which devices, networks and keys are expected (JSON)")
    .option("--baseline <file>", "a report of before, as JSON: what stands in it is marked as known")
    .option("--show-keys", "print keys instead of their fingerprints")
    .addHelpText(
      "after",
      [
        "",
        "Examples:",
        "  postern zigbee audit home.pcapng.gz --key-file keys.txt --format html > home.html",
        "  tcpdump -i wpan0 -U -w - | postern zigbee audit -   (until interrupted)",
      ].join("\n"),
    )
    .action(async (file: string, options: AuditCommandOptions) => {
      const { auditCommand } = await import("../zigbee/audit-command.ts");
      await auditCommand(file, options, context);
    });
  zigbee
    .command("sim")
    .argument("<scenario>", "star, tree, mesh, or a JSON file")
    .description(
      "simulate a network: what arrives, how fast, what it costs, and a capture that other tools can read",
    )
    .option("--seed <number>", "the same number gives the same run", "1")
    .option("--pcap <file>", "write what a sniffer would record")
    .option("--keys <file>", "write the keys of the network, as Wireshark keeps them")
    .option("--cbke <file>", "write the secrets of certificates, as postern zigbee audit --cbke reads them")
    .option("--report <file>", "write a page with topology and time line")
    .option("--json", "print the measurements as JSON")
    .addHelpText(
      "after",
      [
        "",
        "Examples:",
        "  postern zigbee sim mesh --pcap mesh.pcap --report mesh.html",
        "  postern zigbee sim star --seed 7 --json",
      ].join("\n"),
    )
    .action(async (scenario: string, options: SimCommandOptions) => {
      const { simCommand } = await import("../zigbee/sim-command.ts");
      simCommand(scenario, options, context);
    });
  zigbee
    .command("lab")
    .description(
      "run every attack without, with, and against its defence, and say what the defences are worth",
    )
    .option("--attack <id>", "only this one; may be given again", collected)
    .option("--seeds <number>", "runs of each, for confidence", "5")
    .option("--report <file>", "write the table as a page")
    .option(
      "--pcap <directory>",
      "write what a sniffer records of the runs with the first seed, with the keys",
    )
    .option("--detectors <file>", "score the auditor on all runs instead, and write the scores")
    .option("--json", "print the results as JSON")
    .addHelpText(
      "after",
      [
        "",
        "Examples:",
        "  postern zigbee lab --report lab.html",
        "  postern zigbee lab --attack ghost --attack jamming --seeds 20",
        "  postern zigbee lab --attack forged-acknowledgements --seeds 1 --pcap captures",
        "  postern zigbee lab --seeds 30 --detectors docs/zigbee-detectors.md",
      ].join("\n"),
    )
    .action(async (options: LabCommandOptions) => {
      const { labCommand } = await import("../zigbee/lab-command.ts");
      await labCommand(options, context);
    });
  zigbee
    .command("keyhunt")
    .argument("<file>", "capture of frames that no known key opens")
    .requiredOption("--firmware <file>", "memory dump of a device of that network")
    .option(
      "--key-file <file>",
      "keys that are known, one to a line: a network key, where link keys are looked for",
    )
    .description("look for the keys of a capture in the memory of a device")
    .option("--level <number>", "security level of NWK and APS frames", "5")
    .option("--show-keys", "print keys instead of their fingerprints")
    .option("--json", "print what was found as JSON")
    .addHelpText(
      "after",
      ["", "Example:", "  postern zigbee keyhunt home.pcap --firmware flash.bin"].join("\n"),
    )
    .action(async (file: string, options: KeyhuntCommandOptions) => {
      const { keyhuntCommand } = await import("../zigbee/keyhunt-command.ts");
      await keyhuntCommand(file, options, context);
    });
  zigbee
    .command("checklist")
    .argument("<file>", "pcap, pcapng or Daintree capture, also gzip; - for standard input")
    .description("say which of the thesis's best practices a network keeps, with evidence")
    .option("--key-file <file>", "keys and install codes, one to a line")
    .option("--inventory <file>", "which devices, networks and keys are expected (JSON)")
    .option("--json", "print the list as JSON")
    .addHelpText(
      "after",
      [
        "",
        "Example:",
        "  postern zigbee checklist home.pcap --key-file keys.txt --inventory devices.json",
      ].join("\n"),
    )
    .action(async (file: string, options: ChecklistCommandOptions) => {
      const { checklistCommand } = await import("../zigbee/checklist-command.ts");
      await checklistCommand(file, options, context);
    });
  zigbee
    .command("watch")
    .description(
      "apply the rules of the audit to what a sniffer sends, and tell each finding when it appears",
    )
    .option(
      "--zep <[address:]port>",
      "listen for ZEP datagrams (usually 17754) instead of reading standard input",
    )
    .option("--key-file <file>", "keys and install codes, one to a line")
    .option("--inventory <file>", "which devices, networks and keys are expected (JSON)")
    .option("--minutes <number>", "how far back frames are kept", "10")
    .option("--every <seconds>", "how often they are looked at", "5")
    .option("--severity <severity>", "tell from this one on: info … critical", "low")
    .option("--json", "a line of JSON for each finding")
    .option("--publish <topic>", "publish each finding to MQTT as well, as JSON with QoS 1; needs --bundle")
    .option("--bundle <file>", "with which identity, and at which server")
    .addHelpText(
      "after",
      [
        "",
        "Examples:",
        "  tcpdump -i wpan0 -U -w - | postern zigbee watch --key-file keys.txt",
        "  postern zigbee watch --zep 17754 --publish alerts/zigbee --bundle watch.json",
      ].join("\n"),
    )
    .action(async (options: WatchCommandOptions) => {
      const { watchCommand } = await import("../zigbee/watch-command.ts");
      await watchCommand(options, context);
    });
}
