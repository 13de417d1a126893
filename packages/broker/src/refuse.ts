import type { Decoded } from "@postern/mqtt/malformed";

import type { Connection } from "./connection.ts";
import { Next } from "./inbound.ts";

/** Ends the connection with a reason; the answer for the reader. */
export function refuse(connection: Connection, reasonCode: number, reason: string): Next {
  connection.fail(reasonCode, reason);
  return Next.stop;
}

/** The value of a decoder's result, or `undefined` after the connection was ended for what is wrong with it. */
export function valueOrRefuse<T>(connection: Connection, decoded: Decoded<T>): T | undefined {
  if (decoded.kind === "value") return decoded.value;
  connection.fail(decoded.reasonCode, decoded.reason);
  return undefined;
}
