/** What the first start writes. */
export const defaultPermissions = `# Who may do what: roles, which devices have by name. Whoever has no role may do nothing.
# The server reads this file again whenever it changes, and applies it at once to all who are connected.
# Before you save it:   postern permissions check FILE
# Who may do this, why: postern permissions explain DEVICE publish TOPIC
# All of it is described in docs/PERMISSIONS.md.

# What becomes of a message that its client may not publish: drop (MQTT 5 clients are told) or disconnect.
refusedPublish: drop

roles:
  # Everything, and the server's own numbers under $SYS. The first device has this role.
  administrator:
    rules:
      - topics: ["#"]
        allow: [publish, subscribe, will, retain, shared, persistentSession]
      - topics: ["$SYS/#"]
        allow: [subscribe]
      # Keys of sealed payloads, which "postern keys" publishes.
      - topics: ["$keys/#"]
        allow: [publish, retain, subscribe]

  # A device's own topics, and nothing of others.
  device:
    rules:
      - topics: ["devices/\${device}/#"]
        allow: [publish, subscribe, will, retain, persistentSession]
      - topics: ["$keys/\${device}"]
        allow: [subscribe]
      - topics: ["$keys/\${device}/next"]
        allow: [publish, retain]

  # Reads what applications publish, and writes nothing.
  observer:
    rules:
      - topics: ["#"]
        allow: [subscribe, shared, persistentSession]

  # Clients of a listener with "anonymous: true" have the role anonymous. There is none until you write it, for example:
  # anonymous:
  #   rules:
  #     - topics: ["public/#"]
  #       allow: [publish, subscribe]
  #       qos: [0, 1]
`;
