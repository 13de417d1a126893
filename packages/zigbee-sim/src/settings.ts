/** What the devices of a network check and how they behave: a defence is another value here. */
export interface StackSettings {
  /** Of NWK and APS frames, 0 to 7. */
  readonly securityLevel: number;
  /** Whether frame counters are looked at. */
  readonly checksFreshness: boolean;
  /** How far a frame counter may jump ahead. */
  readonly counterJumpMax: number;
  /** Whether application messages are confirmed from end to end. */
  readonly apsAcknowledgments: boolean;
  /** Whether application messages are protected with the link key of the pair as well. */
  readonly apsEncryption: boolean;
  /** Whether application frames without protection are taken in a protected network. */
  readonly acceptsUnsecuredData: boolean;
  /** Whether a disassociation by the MAC, which proves nothing, is obeyed. */
  readonly obeysDisassociation: boolean;
  /** Whether a realignment that was not asked for is obeyed. */
  readonly obeysRealignment: boolean;
  /** Whether a network moves when another one with its PAN id is seen, and how long it stays after a move. */
  readonly resolvesPanConflicts: boolean;
  readonly panConflictHoldUs: number;
  /** Rejected frames in a row after which a sleeping device goes back to sleep and skips polls. */
  readonly rejectedMax: number;
  /** Entries of the broadcast table that one source may fill. */
  readonly broadcastsEachSourceMax: number;
  readonly broadcastTableMax: number;
  /** Devices that a parent takes, and whether it forgets those that never fetch their answer or do not authenticate. */
  readonly childrenMax: number;
  readonly forgetsUnproved: boolean;
  /** Association requests that a parent answers within a minute. */
  readonly associationsEachMinuteMax: number;
  /** Channels to which a network moves when its own is unusable. */
  readonly channels: readonly number[];
  readonly movesChannel: boolean;
  /** Whether a device joins only networks whose extended PAN id it was given. */
  readonly joinsOnlyKnownNetworks: boolean;
  /** Whether all application messages have one length, and are sent at fixed times, events or not. */
  readonly hidesTraffic: boolean;
}

/** A network as it should be: everything is checked that the standard lets a device check. */
export const safeStack: StackSettings = {
  securityLevel: 5,
  checksFreshness: true,
  counterJumpMax: 2 ** 24,
  apsAcknowledgments: true,
  apsEncryption: false,
  acceptsUnsecuredData: false,
  obeysDisassociation: false,
  obeysRealignment: false,
  resolvesPanConflicts: true,
  panConflictHoldUs: 3_600_000_000,
  rejectedMax: 3,
  broadcastsEachSourceMax: 6,
  broadcastTableMax: 24,
  childrenMax: 16,
  forgetsUnproved: true,
  associationsEachMinuteMax: 30,
  channels: [11, 15, 20, 25],
  movesChannel: true,
  joinsOnlyKnownNetworks: true,
  hidesTraffic: false,
};

/** How keys are handed out. */
export interface SecuritySettings {
  readonly model: "centralized" | "distributed";
  readonly mode: "residential" | "commercial";
  /** `well-known`: ZigBeeAlliance09; `install-code`: each device has its own; `none`: no link key at all. */
  readonly linkKeys: "none" | "well-known" | "install-code";
  /** Devices without link key establish one from a master key (SKKE). */
  readonly masterKeys: boolean;
  /** Devices establish a link key with the trust centre by certificates (CBKE, sect163k1) once they have joined; none is issued then. */
  readonly certificates: boolean;
  readonly onlyAllowed: boolean;
  readonly unsecuredRejoin: "any-key" | "own-key" | "refused";
  readonly oneJoinForEachKey: boolean;
  readonly issuesLinkKeys: boolean;
  readonly authenticationSeconds: number;
  readonly devicesMax: number;
  /** Joining stays open for so long. */
  readonly permitSeconds: number;
  /** When the network key is replaced; 0: never. */
  readonly keyUpdateSeconds: number;
}

/** Keys as they should be handed out. */
export const safeSecurity: SecuritySettings = {
  model: "centralized",
  mode: "commercial",
  linkKeys: "install-code",
  masterKeys: false,
  certificates: false,
  onlyAllowed: true,
  unsecuredRejoin: "own-key",
  oneJoinForEachKey: true,
  issuesLinkKeys: true,
  authenticationSeconds: 10,
  devicesMax: 64,
  permitSeconds: 60,
  keyUpdateSeconds: 0,
};
