import { type NodePlan, type Scenario } from "../scenario.ts";
import { scenarios } from "../scenarios.ts";
import { type Loot } from "./attack.ts";
import { type Attacker } from "./attacker.ts";

function found(name: string): Scenario {
  const scenario = scenarios[name];
  if (scenario === undefined) throw new TypeError(`the simulator has no scenario ${name}`);
  return scenario;
}

/** When attackers begin that do not care for joins: everybody is in. */
export const attackSeconds = 40;

/** A room with two lamps, two thermometers, two contacts. */
export const room: Scenario = { ...found("star"), seconds: 140, warmUpSeconds: attackSeconds };

/** A building of which every second device is a router. */
export const building: Scenario = { ...found("mesh"), seconds: 120, warmUpSeconds: attackSeconds };

/** The same room, and a contact that is switched on when the attacker is there. */
export const roomWithLatecomer: Scenario = {
  ...room,
  nodes: [...room.nodes, latecomer()],
  security: { ...room.security, permitSeconds: 140 },
};

function latecomer(): NodePlan {
  const like = room.nodes.find(({ application }) => application === "contact");
  if (like === undefined) throw new TypeError("the room has no contact");
  const address = room.nodes[0]?.address ?? like.address;
  return {
    ...like,
    name: "latecomer",
    address: found("mesh").nodes[9]?.address ?? address,
    x: 10,
    y: -4,
    startSeconds: 60,
  };
}

/** What an attacker took, when nothing else counts. */
export function lootOf(attacker: Attacker, other = 0): Loot {
  return { keysLearnt: attacker.keysLearnt, readShare: attacker.readShare, other };
}

/** Nobody attacks. */
export const noLoot: Loot = { keysLearnt: 0, readShare: 0, other: 0 };
