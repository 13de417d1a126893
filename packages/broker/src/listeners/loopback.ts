/** As the system writes the address of a socket: IPv4 of a socket for both families in the form of IPv6. */
const loopback = /^(?:::ffff:)?127\.\d{1,3}\.\d{1,3}\.\d{1,3}$|^::1$/;

/** Whether a socket's address is the machine's own; a Unix socket has the empty one. */
export function isLoopback(address: string): boolean {
  return address === "" || loopback.test(address);
}
