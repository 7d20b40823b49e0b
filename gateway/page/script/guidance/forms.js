/** Forms that a continuation can be held to, as regular expressions in Rust's syntax. */

const escape = (word) => word.replace(/[\\^$.|?*+()[\]{}/-]/g, "\\$&");

/** @returns {string} one of the words that lines are to end with */
function endings(words) {
  const found = words.split(/[\s,;]+/).filter(Boolean);
  return found.length ? `(${found.map(escape).join("|")})` : null;
}

/**
 * @param form `line`, `speech`, `three-lines`, `rhyme`, `own`, or empty for none
 * @param words of the field beside it: what lines end with, or the pattern itself
 * @returns {string | null} null: nothing is asked for
 */
export function patternOf(form, words) {
  switch (form) {
    case "line":
      return "[^\\n]{1,200}\\n";
    case "speech":
      return '[ \\n]?"[^"\\n]{1,200}[.!?,]"';
    case "three-lines":
      return "(\\n[^\\n]{8,40}){3}";
    case "rhyme": {
      const end = endings(words);
      return end && `(\\n[^\\n]{6,50} ${end}[.,!?;]?){2}`;
    }
    case "own":
      return words.trim() ? words : null;
    default:
      return null;
  }
}
