/** How surprising a text is to the model, word by word: the writer's own or any other. */

import { readScores } from "./scores.js";

/**
 * @param text of any length: what is longer than the model reads at once is read in windows, of
 *   which each knows at least half a context of what stands before
 * @param service gives `tokenize(text)` and `score(ids, ranked)`
 * @param onProgress takes the share that is read
 * @returns {Promise<object[]>} tokens `{start, end, logprob, ranking}`; the first has none to tell
 */
export async function survey(text, { service, context, ranked, signal, onProgress = () => {} }) {
  const ids = await service.tokenize(text, signal);
  const found = [];
  const half = Math.floor(context / 2);
  for (let read = 0; read < ids.length; ) {
    const start = read === 0 ? 0 : read - half;
    const end = Math.min(start + context, ids.length);
    const scores = await service.score(ids.slice(start, end), ranked, signal);
    found.push(...scores.slice(read - start));
    read = end;
    onProgress(read / ids.length);
  }
  return readScores(found, text);
}

/** @returns {{bits, characters, perCharacter}} what the text would take if the model packed it */
export function weigh(tokens) {
  const known = tokens.filter(({ logprob }) => logprob !== null);
  const bits = known.reduce((sum, { logprob }) => sum - logprob / Math.LN2, 0);
  const characters = known.reduce((sum, { start, end }) => sum + end - start, 0);
  return { bits, characters, perCharacter: characters ? bits / characters : 0 };
}

/** @returns {number[]} bits a character along the text, in so many stretches of equal length */
export function curve(tokens, stretches) {
  const last = tokens.at(-1)?.end ?? 0;
  const sums = Array.from({ length: stretches }, () => ({ bits: 0, characters: 0 }));
  for (const { start, end, logprob } of tokens) {
    if (logprob === null) continue;
    const at = sums[Math.min(stretches - 1, Math.floor((start / last) * stretches))];
    at.bits -= logprob / Math.LN2;
    at.characters += end - start;
  }
  return sums.map(({ bits, characters }) => (characters ? bits / characters : 0));
}

/** @returns {{start, end, bits}[]} the passages that surprise most, none over another */
export function surprises(tokens, { length = 12, most = 5 } = {}) {
  const passages = [];
  for (let at = 0; at + 1 <= tokens.length; at += Math.ceil(length / 3)) {
    const part = tokens.slice(at, at + length).filter(({ logprob }) => logprob !== null);
    if (part.length < Math.min(length, 4)) continue;
    const { perCharacter } = weigh(part);
    passages.push({ start: part[0].start, end: part.at(-1).end, bits: perCharacter });
  }
  passages.sort((a, b) => b.bits - a.bits);
  const chosen = [];
  for (const passage of passages) {
    const isFree = chosen.every(({ start, end }) => passage.end <= start || passage.start >= end);
    if (isFree) chosen.push(passage);
    if (chosen.length === most) break;
  }
  return chosen;
}
