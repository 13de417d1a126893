/** C0 without tab and line feed, DEL and C1: with them a text could rewrite or command the terminal. */
// oxlint-disable-next-line no-control-regex
const controls = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

/** Text that somebody else wrote, for a terminal: control characters are shown as `\x1b`, tabs and line feeds stay. */
export function visible(text: string): string {
  return text.replace(controls, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return `\\x${code.toString(16).padStart(2, "0")}`;
  });
}
