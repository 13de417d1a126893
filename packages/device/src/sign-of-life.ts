import type { MqttClient, Packet } from "mqtt";

/** Ours are sent so long after the one before at least, as a part of the keep-alive time: the server allows for half of that time more than it. */
const askAgainShare = 0.25;

/**
 * Takes every packet for a sign that the server lives. For MQTT.js only the answer to its PINGREQ is one, and that stands behind all that the
 * server had to say before: who takes long over messages, or has a slow line, would leave a server that has been talking all the while.
 *
 *     PINGREQ ──► packets come, none of them PINGRESP ──► counted anew, and PINGREQ from time to time: the server must hear from us, too
 *             ──► nothing comes for half the keep-alive time ──► MQTT.js gives up
 *
 * @see MQTT 5.0 §3.1.2.10
 */
export class SignOfLife {
  readonly #client: MqttClient;
  /** When the last PINGREQ was sent, while no answer has come. */
  #askedMs: number | undefined = undefined;

  constructor(client: MqttClient) {
    this.#client = client;
    client.on("packetsend", ({ cmd }) => {
      if (cmd === "pingreq") this.#askedMs = performance.now();
    });
  }

  /** To be called for each packet that comes. */
  seen({ cmd }: Packet): void {
    if (cmd === "pingresp" || cmd === "connack") this.#askedMs = undefined;
    const client = this.#client;
    if (this.#askedMs === undefined || client.disconnecting) return;
    if (performance.now() - this.#askedMs >= client.keepalive * 1_000 * askAgainShare) client.sendPing();
    client.reschedulePing(true);
  }
}
