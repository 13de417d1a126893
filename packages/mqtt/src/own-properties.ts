/** The user property of CONNACK by which a server behind a gate tells a device which address it is seen from. @see MQTT 5.0 §3.2.2.3.10 */
export const addressProperty = "postern-address";
