import { channel } from "node:diagnostics_channel";

/**
 * Told of each piece of memory whose bytes are over: from now on somebody else's may be there. Only tests listen, and overwrite it at
 * once (`testing/poison.ts`): whoever still looks at it is found out there, and not by the client that is shown it.
 */
export const memoryOver = channel("postern:memory-over");
