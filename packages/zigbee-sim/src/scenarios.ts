import { type Eui64, eui64At } from "@postern/zigbee/eui64";

import { type Application, type NodePlan, type Scenario } from "./scenario.ts";
import { safeSecurity, safeStack } from "./settings.ts";

/** An address of the simulation: of a maker that does not exist. */
function address(index: number): Eui64 {
  return eui64At(Uint8Array.of(index, index >> 8, 0x50, 0x00, 0x4d, 0x49, 0x53, 0x02), 0);
}

const usual: Omit<Scenario, "name" | "topology" | "nodes"> = {
  seconds: 180,
  warmUpSeconds: 40,
  channel: 15,
  pan: 0x1a62,
  extendedPan: eui64At(Uint8Array.of(1, 0, 0x50, 0, 0x4d, 0x49, 0x53, 0x02), 0),
  stack: safeStack,
  security: safeSecurity,
  lossShare: 0.005,
  shadowDb: 2,
  interference: [],
  sniffer: "everywhere",
};

interface Spot {
  readonly name: string;
  readonly kind: NodePlan["kind"];
  readonly x: number;
  readonly y: number;
  readonly application: Application;
  readonly sleeps?: boolean;
}

/** Devices that are switched on one after the other, parents before children. */
function planned(spots: readonly Spot[]): NodePlan[] {
  return spots.map((spot, index) => ({
    ...spot,
    address: address(index + 1),
    sleeps: spot.sleeps ?? false,
    startSeconds: 0.5 + 1.5 * index,
    pollSeconds: 3,
    intervalSeconds: spot.application === "lamp" ? 10 : spot.application === "contact" ? 12 : 10,
  }));
}

/** A room: every device at the coordinator. */
function star(): Scenario {
  const applications: readonly Application[] = [
    "thermometer",
    "contact",
    "lamp",
    "thermometer",
    "contact",
    "lamp",
  ];
  const spots = applications.map((application, index): Spot => {
    const angle = (2 * Math.PI * index) / applications.length;
    return {
      name: `${application}-${index + 1}`,
      kind: "end-device",
      x: Math.round(12 * Math.cos(angle)),
      y: Math.round(12 * Math.sin(angle)),
      application,
      sleeps: application !== "lamp",
    };
  });
  const centre: Spot = { name: "coordinator", kind: "coordinator", x: 0, y: 0, application: "none" };
  return { ...usual, name: "star", topology: "star", nodes: planned([centre, ...spots]) };
}

/** Two floors: routers in branches, addresses and ways by the place in the tree. */
function tree(): Scenario {
  return {
    ...usual,
    name: "tree",
    topology: "tree",
    nodes: planned([
      { name: "coordinator", kind: "coordinator", x: 0, y: 0, application: "none" },
      { name: "router-a", kind: "router", x: -45, y: 20, application: "lamp" },
      { name: "router-b", kind: "router", x: 45, y: 20, application: "lamp" },
      { name: "router-c", kind: "router", x: -90, y: 40, application: "lamp" },
      { name: "thermometer-1", kind: "end-device", x: -55, y: 35, application: "thermometer", sleeps: true },
      { name: "contact-1", kind: "end-device", x: 55, y: 35, application: "contact", sleeps: true },
      { name: "thermometer-2", kind: "end-device", x: -105, y: 50, application: "thermometer", sleeps: true },
      { name: "thermometer-3", kind: "end-device", x: 8, y: -10, application: "thermometer", sleeps: true },
    ]),
  };
}

/** A building: a grid of routers in which there is more than one way, and sleeping devices between them. */
function mesh(): Scenario {
  return {
    ...usual,
    name: "mesh",
    topology: "mesh",
    nodes: planned([
      { name: "coordinator", kind: "coordinator", x: 0, y: 0, application: "none" },
      { name: "router-1", kind: "router", x: 45, y: 0, application: "lamp" },
      { name: "router-2", kind: "router", x: 0, y: 45, application: "lamp" },
      { name: "router-3", kind: "router", x: 45, y: 45, application: "none" },
      { name: "router-4", kind: "router", x: 90, y: 20, application: "lamp" },
      { name: "router-5", kind: "router", x: 90, y: 65, application: "lamp" },
      { name: "thermometer-1", kind: "end-device", x: 60, y: 10, application: "thermometer", sleeps: true },
      { name: "contact-1", kind: "end-device", x: 10, y: 60, application: "contact", sleeps: true },
      { name: "thermometer-2", kind: "end-device", x: 105, y: 70, application: "thermometer", sleeps: true },
      { name: "contact-2", kind: "end-device", x: 100, y: 10, application: "contact", sleeps: true },
    ]),
  };
}

/** The networks that come with the simulator. */
export const scenarios: Readonly<Record<string, Scenario>> = { star: star(), tree: tree(), mesh: mesh() };
