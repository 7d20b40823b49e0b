/** What the model is given to read: a note that always stands before the text, the text, and a note
 * a few lines above its end. Knows neither screen nor service.
 */

/** How many lines that say something stay below the note. */
const LINES_BELOW = 3;

/** @returns {number} where the note a few lines above the end stands: at the start of a line */
export function notePlace(text) {
  let end = text.length;
  for (let lines = 0; end > 0; ) {
    const start = text.lastIndexOf("\n", end - 1) + 1;
    if (text.slice(start, end).trim() !== "") lines += 1;
    if (lines === LINES_BELOW) return start;
    end = start - 1;
  }
  return 0;
}

/** @returns {string} the prompt */
export function compose(text, { memory = "", note = "" }) {
  const place = notePlace(text);
  const before = memory.trim() ? `${memory.trim()}\n\n` : "";
  if (!note.trim()) return before + text;
  // Set off as the text sets off its own lines.
  const gap = /\n\s*\n/.test(text) ? "\n\n" : "\n";
  return `${before}${text.slice(0, place)}${note.trim()}${gap}${text.slice(place)}`;
}
