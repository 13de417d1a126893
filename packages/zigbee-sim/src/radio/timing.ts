/*
 * The physical layer at 2.4 GHz: 250 kbit/s, 16 microseconds a symbol, 32 a byte. @see IEEE 802.15.4-2006 §6.5, §7.4.2
 */

/** Time that each byte takes. */
export const byteUs = 32;
/** Preamble, start of frame and length byte. */
const synchronizationBytes = 6;
const frameCheckBytes = 2;
/** From receiving to sending or back: 12 symbols. */
export const turnaroundUs = 192;
/** The unit of random waiting: 20 symbols. */
export const backoffUnitUs = 320;
/** Listening whether the channel is free: 8 symbols. */
export const channelAssessmentUs = 128;
/** How long a sender waits for an acknowledgement: 54 symbols. */
export const acknowledgmentWaitUs = 864;
/** How long a device listens for what its parent has announced: 1,220 symbols. */
export const pendingFrameWaitUs = 19_520;
/** Listening for beacons on one channel: 138 ms. @see Zigbee scan duration 3 */
export const scanUs = 138_240;
/** From an association request until its answer is fetched: 32 base superframes. */
export const responseWaitUs = 491_520;
/** How long a frame waits for a sleeping device: 500 base superframes. @see macTransactionPersistenceTime */
export const indirectWaitUs = 7_680_000;

/** Time on air of a frame without its check sequence. */
export function frameUs(bytes: number): number {
  return byteUs * (bytes + frameCheckBytes + synchronizationBytes);
}
