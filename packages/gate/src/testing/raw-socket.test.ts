import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { createNetwork } from "../hosts/hosts.ts";
import { hostsRefused } from "../hosts/namespaces.ts";
import { floodArguments } from "./flood.ts";

const refused = await hostsRefused();

describe("the flood of the tests", refused === undefined ? {} : { skip: refused }, () => {
  it("arrives with the source it claims, in both families", async () => {
    await using network = await createNetwork({
      hosts: {
        server: { ipv4: "192.168.1.126/24", ipv6: "fd01::126/64" },
        stranger: { ipv4: "192.168.1.66/24", ipv6: "fd01::66/64" },
      },
    });
    const listen = `for (const type of ["udp4", "udp6"]) {
      const socket = require("dgram").createSocket({ type, ipv6Only: type === "udp6" });
      socket.on("message", (payload, { address }) => console.log(address, payload.toString("hex")));
      socket.bind(7000, () => console.log("listening"));
    }`;
    await using server = network.host("server").start(process.execPath, ["-e", listen]);
    await server.until(/listening\nlistening/);
    for (const [to, from] of [
      ["192.168.1.126", "192.168.1.6"],
      ["fd01::126", "fd01::6"],
    ] as const) {
      const options = { to, from, port: 7_000, count: 3, payload: Buffer.from("abc") };
      const { stdout } = await network.host("stranger").run(process.execPath, floodArguments(options));
      assert.match(stdout, /^sent 3 refused 0 /);
      await server.until(new RegExp(`(${from} 616263\n){3}`));
    }
  });
});
