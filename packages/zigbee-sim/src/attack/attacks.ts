import { broadcastStorm, flooding, forgedAcknowledgments, ghost, jamming } from "./air-attacks.ts";
import { type Attack } from "./attack.ts";
import { maximumCounter, replay, statistics } from "./deception-attacks.ts";
import { keyExtraction, keyInClear, keyReuse, unsecuredRejoin, wellKnownKey } from "./key-attacks.ts";
import {
  associationFlood,
  disassociation,
  panConflict,
  realignment,
  trapNetwork,
} from "./membership-attacks.ts";

/** Every attack of the lab: the vulnerabilities of thesis 6.6 in their order, then what tools can do beside. */
export const attacks: readonly Attack[] = [
  keyExtraction,
  keyInClear,
  ghost,
  wellKnownKey,
  forgedAcknowledgments,
  associationFlood,
  maximumCounter,
  flooding,
  broadcastStorm,
  jamming,
  keyReuse,
  trapNetwork,
  statistics,
  replay,
  unsecuredRejoin,
  disassociation,
  realignment,
  panConflict,
];
