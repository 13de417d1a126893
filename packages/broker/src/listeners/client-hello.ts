import type { Socket } from "node:net";

const handshakeRecord = 0x16;
const headerBytes = 5;
/** @see RFC 8446 §5.1 */
const recordBytesMax = 16_384;

/**
 * Looks at the first TLS record of a socket that nobody has read from yet and hands it on unread; what is no TLS is handed on as it
 * came. Nothing is called when the connection ends before.
 */
export function peekClientHello(socket: Socket, then: (clientHello: Buffer) => void): void {
  let read: Buffer = Buffer.alloc(0);
  const take = (chunk: Buffer): void => {
    read = read.length === 0 ? chunk : Buffer.concat([read, chunk]);
    if (isIncomplete(read)) return;
    socket.pause();
    socket.off("data", take);
    socket.off("end", end);
    socket.unshift(read);
    then(read);
  };
  const end = (): void => void socket.destroy();
  socket.on("data", take);
  socket.once("end", end);
  socket.resume();
}

function isIncomplete(bytes: Buffer): boolean {
  if (bytes.length === 0) return true;
  if (bytes[0] !== handshakeRecord) return false;
  if (bytes.length < headerBytes) return true;
  const recordBytes = bytes.readUInt16BE(3);
  return recordBytes <= recordBytesMax && bytes.length < headerBytes + recordBytes;
}
