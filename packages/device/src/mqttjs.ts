/** What users of a connection meet of MQTT.js. */
export type { IPublishPacket, MqttClient, Packet } from "mqtt";
