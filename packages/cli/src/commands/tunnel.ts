import type { Command } from "commander";

import { wholeNumber } from "../client/options.ts";
import type { CommandContext } from "../context.ts";
import type { TunnelOptions } from "../tunnel/tunnel.ts";

/** `postern tunnel`: for programs that cannot knock. */
export function registerTunnel(program: Command, context: CommandContext): void {
  program
    .command("tunnel")
    .description(
      "a local port for programs that can neither knock nor use a bundle: any MQTT client as it is",
    )
    .requiredOption("--bundle <file>", "the device's bundle")
    .option("--listen <address>", "address and port, or the path of a Unix socket", "127.0.0.1:1883")
    .option("--insecure", "listen on an address that other machines can reach; they all become this device")
    .option("--connections <number>", "clients at once", wholeNumber(1, 1_000), 64)
    .addHelpText(
      "after",
      `
For each client that connects, it knocks, opens TLS with the bundle's identity, and passes MQTT through. With a bundle that holds a password or
a token, a client that gives neither user name nor password gets the bundle's.

Examples:
  postern tunnel --bundle home-assistant.json
  postern tunnel --bundle node-red.json --listen /run/mqtt.sock`,
    )
    .action(async (options: TunnelOptions) => {
      const { runTunnel } = await import("../tunnel/tunnel.ts");
      await runTunnel(options, context);
    });
}
