/** Where words occur in a text. Knows nothing of the screen. */

const MOST = 5000;

/** @returns {{start, end}[]} in order, none over another */
export function matchesOf(text, words, matchCase) {
  if (!words) return [];
  const escaped = words.replace(/[\\^$.|?*+()[\]{}/-]/g, "\\$&");
  const pattern = new RegExp(escaped, matchCase ? "gu" : "giu");
  const found = [];
  for (const { index, 0: match } of text.matchAll(pattern)) {
    found.push({ start: index, end: index + match.length });
    if (found.length === MOST) break;
  }
  return found;
}

/** @returns {string} the text with each match replaced, the replacement as it stands */
export function replaced(text, matches, replacement) {
  let end = 0;
  let result = "";
  for (const match of matches) {
    result += text.slice(end, match.start) + replacement;
    end = match.end;
  }
  return result + text.slice(end);
}
