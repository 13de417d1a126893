/**
 * What may be done on one topic, as bits of a number: one for each operation and QoS level.
 *
 *     bit   14..12   11..9    8..6    5..3        2..0
 *           shared   retain   will    subscribe   publish     each group: QoS 2, 1, 0
 *
 * `rights & (TopicRight.publish << qos)` asks for one of them.
 */
export const TopicRight = {
  publish: 1 << 0,
  subscribe: 1 << 3,
  will: 1 << 6,
  retain: 1 << 9,
  shared: 1 << 12,
} as const;
export type TopicRight = (typeof TopicRight)[keyof typeof TopicRight];

/** One operation at every QoS level. */
export function atEveryQoS(right: TopicRight): number {
  return right * 0b111;
}
