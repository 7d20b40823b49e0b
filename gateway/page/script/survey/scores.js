/** Log probabilities of a prompt's tokens, put at their places in the text. */

const WHOLE = new TextDecoder("utf-8", { fatal: true });
const PART = /\\x([0-9a-f]{2})|([^])/gu;

/** The bytes of a token that is not whole characters: `bytes: \\xc3`. */
function bytesOf(token) {
  const encoder = new TextEncoder();
  return [...token.slice("bytes:".length).matchAll(PART)].flatMap(([, code, letter]) =>
    code === undefined ? [...encoder.encode(letter)] : [Number.parseInt(code, 16)],
  );
}

/** @returns {string | null} null: a character is not complete yet */
function textOf(bytes) {
  try {
    return WHOLE.decode(Uint8Array.from(bytes));
  } catch {
    return null;
  }
}

/**
 * @param scores `{text, logprob, ranking}` in order; tokens that make one character together become
 *   one, as likely as all of them
 * @returns {{start, end, logprob, ranking}[]} as far as they make up the text
 */
export function readScores(scores, text) {
  const tokens = [];
  let start = 0;
  let open = null;
  for (const { text: token, logprob, ranking } of scores) {
    const isPart = open !== null || token.startsWith("bytes:");
    let words = token;
    let value = logprob;
    if (isPart) {
      const own = token.startsWith("bytes:") ? bytesOf(token) : [...new TextEncoder().encode(token)];
      open = { bytes: [...(open?.bytes ?? []), ...own], logprob: (open?.logprob ?? 0) + (logprob ?? 0) };
      words = textOf(open.bytes);
      if (words === null) continue;
      value = open.logprob;
      open = null;
    }
    if (!text.startsWith(words, start)) break;
    tokens.push({ start, end: start + words.length, logprob: value, ranking: isPart ? [] : ranking });
    start += words.length;
  }
  return tokens;
}
