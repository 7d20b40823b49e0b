/** How much of a text the model reads, and from where on. */

/** Of the context at most this share stays free for what is to be written (`prompt_reader.py`). */
const RESERVED_SHARE = 4;
/** Longer tokens are rare: of a long text so much of the end is looked at, and no more. */
const CHARACTERS_PER_TOKEN = 12;
/** Two texts that are joined may have a token or two more than both by themselves. */
const SEAMS = 4;

/**
 * @param text of any length
 * @param notes `{memory, note}`
 * @param model `{context, length}`: tokens that it reads, and tokens that are to be written
 * @param service gives `tokenize(text)` and `detokenize(ids)`
 * @returns {Promise<{memory, note, text, context, length, start}>} tokens of each; `start` is where
 *   the model begins to read, 0 when nothing is forgotten
 */
export async function measure(text, notes, { context, length }, service, signal) {
  const tail = tailOf(text, context * CHARACTERS_PER_TOKEN);
  const count = async (words) => (words.trim() ? (await service.tokenize(words, signal)).length : 0);
  const [ids, memory, note] = await Promise.all([
    tail ? service.tokenize(tail, signal) : [],
    count(notes.memory),
    count(notes.note),
  ]);
  const seams = (memory ? SEAMS : 0) + (note ? SEAMS : 0);
  const most = context - 1 - memory - note - seams;
  const found = { memory, note, text: ids.length, context, length, start: 0 };
  if (ids.length <= most && tail.length === text.length) return found;
  const kept = Math.max(1, most + 1 - Math.min(length, Math.floor(context / RESERVED_SHARE)));
  const read = await service.detokenize(ids.slice(-kept), signal);
  // Half a character at the start of what is read is no part of the text.
  const whole = read.replace(/^\uFFFD+/, "");
  const start = text.length - whole.length;
  return { ...found, text: Math.min(kept, ids.length), start: wordStart(text, start) };
}

/** The end of a text, from the start of a word on. */
function tailOf(text, characters) {
  if (text.length <= characters) return text;
  return text.slice(wordStart(text, text.length - characters));
}

/** @returns {number} where the next word begins, without its space; the place if none does */
function wordStart(text, place) {
  if (place <= 0 || /\s/.test(text[place - 1])) return Math.max(0, place);
  const next = text.slice(place).search(/\s\S/);
  return next < 0 ? place : place + next + 1;
}
