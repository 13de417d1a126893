import { once } from "node:events";
import { connect } from "node:net";
import { createServer, type Server, type TLSSocket } from "node:tls";

import mqttPacket, { type IConnectPacket, type IPublishPacket, type Packet } from "mqtt-packet";

import type { Bundle } from "@postern/core/bundle";
import { issueDevice, issueIntermediate, issueRoot, issueServer, type KeyPair } from "@postern/pki/issue";

import { days } from "./plant.ts";

/** What becomes of a message on its way to a device: these in its place. */
export type Tamper = (message: IPublishPacket, device: string) => readonly IPublishPacket[];

/**
 * The operator of a broker as an attacker: it ends TLS with the certificate that devices trust, passes MQTT on to the real server
 * behind, sees all payloads, and may change, keep, and invent messages.
 */
export class ManInTheMiddle implements AsyncDisposable {
  readonly #server: Server;
  readonly #keys: { readonly root: KeyPair; readonly issuing: KeyPair };
  readonly #url: string;
  readonly #clients = new Map<string, TLSSocket>();
  #packetId = 40_000;
  /** All messages that devices sent, in order. */
  readonly sent: IPublishPacket[] = [];
  tamper: Tamper = (message) => [message];

  private constructor(server: Server, keys: ManInTheMiddle["keys"], port: number) {
    this.#server = server;
    this.#keys = keys;
    this.#url = `mqtts://127.0.0.1:${port}`;
  }

  get keys() {
    return this.#keys;
  }

  static async start(behindPort: number): Promise<ManInTheMiddle> {
    const validity = days(-1, 10);
    const root = await issueRoot({ commonName: "Operator root", validity });
    const issuing = await issueIntermediate({ commonName: "Operator", validity, issuer: root });
    const pair = await issueServer({ hosts: ["127.0.0.1"], validity, issuer: issuing });
    const server = createServer({ cert: pair.certificate + issuing.certificate, key: pair.key });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    if (typeof address !== "object" || address === null) throw new Error("no port");
    const middle = new ManInTheMiddle(server, { root, issuing }, address.port);
    server.on("tlsClientError", () => {});
    server.on("secureConnection", (socket) => middle.#serve(socket, behindPort));
    return middle;
  }

  /** A bundle for a device of this operator. */
  async bundle(
    device: string,
    tenant = "default",
  ): Promise<Bundle & { readonly certificate: string; readonly key: string }> {
    const { root, issuing } = this.#keys;
    const pair = await issueDevice({ tenant, device, validity: days(-1, 5), issuer: issuing });
    const certificate = pair.certificate + issuing.certificate;
    return {
      postern: 1,
      device,
      servers: [{ url: this.#url }],
      ca: root.certificate,
      certificate,
      key: pair.key,
    };
  }

  /** Sends a device a message that no server sent. */
  inject(device: string, message: Pick<IPublishPacket, "topic" | "payload"> & Partial<IPublishPacket>): void {
    const { qos = 1 } = message;
    const packet = { cmd: "publish" as const, retain: false, dup: false, ...message, qos };
    const messageId = qos === 0 ? {} : { messageId: ++this.#packetId };
    this.#clients
      .get(device)
      ?.write(mqttPacket.generate({ ...packet, ...messageId }, { protocolVersion: 5 }));
  }

  #serve(client: TLSSocket, behindPort: number): void {
    let device = "";
    const onward = connect({ host: "127.0.0.1", port: behindPort });
    for (const socket of [client, onward]) {
      socket.on("error", () => {});
      socket.on("close", () => {
        client.destroy();
        onward.destroy();
      });
    }
    const up = mqttPacket.parser({ protocolVersion: 5 });
    up.on("packet", (packet: Packet) => {
      if (packet.cmd === "connect") {
        device = nameOf(packet);
        this.#clients.set(device, client);
      }
      if (packet.cmd === "publish") this.sent.push(packet);
      // The server knows nothing of what was invented.
      const isOurs = packet.cmd === "puback" && (packet.messageId ?? 0) > 40_000;
      if (!isOurs) onward.write(mqttPacket.generate(packet, { protocolVersion: 5 }));
    });
    const down = mqttPacket.parser({ protocolVersion: 5 });
    down.on("packet", (packet: Packet) => {
      const packets = packet.cmd === "publish" ? this.tamper(packet, device) : [packet];
      for (const each of packets) client.write(mqttPacket.generate(each, { protocolVersion: 5 }));
    });
    client.on("data", (bytes: Buffer) => up.parse(bytes));
    onward.on("data", (bytes: Buffer) => down.parse(bytes));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    for (const client of this.#clients.values()) client.destroy();
    await closed;
  }
}

function nameOf({ clientId }: IConnectPacket): string {
  return clientId;
}

/** The bytes of a message's payload. */
export function bytesOf({ payload }: Pick<IPublishPacket, "payload">): Buffer {
  return typeof payload === "string" ? Buffer.from(payload, "utf8") : payload;
}
