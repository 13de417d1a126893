export const knockPort = 62_201;
/** Where a datagram comes back from: what the machine makes of the simplest thing that is like a knock. */
export const echoPort = 62_300;
