import type { EnrolmentKnock } from "@postern/device/knock";

import { enrolmentKnock } from "../admin/enrolment-protocol.ts";

const prefix = "knock:";

/** The line that stands below a token where the enrolment server is hidden. */
export function formatKnock(knock: EnrolmentKnock): string {
  return prefix + Buffer.from(JSON.stringify(knock), "utf8").toString("base64url");
}

/** What a line below a token says; `undefined` when it says nothing of knocking. */
export function parseKnock(line: string): EnrolmentKnock | undefined {
  if (!line.startsWith(prefix)) return undefined;
  try {
    const value: unknown = JSON.parse(Buffer.from(line.slice(prefix.length), "base64url").toString("utf8"));
    return enrolmentKnock.safeParse(value).data;
  } catch {
    return undefined;
  }
}
