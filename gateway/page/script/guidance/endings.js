/** Ends a piece where its last sentence or paragraph ends. Knows neither screen nor service. */

const CLOSERS = /[.!?…。！？]["'”’»)\]」』]*(?=\s|$)/gu;
const CJK_CLOSERS = /[。！？]["'”’»)\]」』]*/gu;
/** After these a full stop ends no sentence. */
const SHORT = /(?:^|[\s"'“‘(])(?:Mr|Mrs|Ms|Dr|St|Prof|Mt|vs|etc|[A-Z])\.$/u;

/**
 * @param text that was written so far
 * @param until `sentence` or `paragraph`
 * @param count how many of them are wanted
 * @returns {number | null} where the piece ends; null: it is to go on
 */
export function endOf(text, until, count) {
  return until === "paragraph" ? endOfParagraph(text, count) : endOfSentence(text, count);
}

function endOfParagraph(text, count) {
  let seen = 0;
  for (const match of text.matchAll(/\S[^\S\n]*(\n+)/g)) {
    seen += 1;
    // The line break is the next piece's, but what ends this one was seen to end.
    if (seen === count) return match.index + 1;
  }
  return null;
}

function endOfSentence(text, count) {
  const ends = new Set();
  for (const match of text.matchAll(CLOSERS)) {
    const end = match.index + match[0].length;
    // Only what follows shows that it has ended: "3." may become "3.5".
    if (end < text.length && !SHORT.test(text.slice(0, match.index + 1))) ends.add(end);
  }
  for (const match of text.matchAll(CJK_CLOSERS)) {
    const end = match.index + match[0].length;
    if (end < text.length) ends.add(end);
  }
  return [...ends].sort((a, b) => a - b)[count - 1] ?? null;
}
