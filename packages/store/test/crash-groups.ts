/** What the writer writes and the test expects. */
export const SESSIONS = [1, 2] as const;
export const MARKER = "last/group";
/** Groups whose messages are in the queues. */
export const GROUPS_KEPT = 4;

/** How many messages a group adds, known without asking. */
export function groupSize(group: number): number {
  return group < 1 ? 0 : 1 + ((group * 7919) % 60);
}

export function topicOf(group: number, index: number): string {
  return `${group}/${index}`;
}
