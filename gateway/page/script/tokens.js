/** The tokens of a streamed piece and how sure the model was of each. */

import { decimal, say } from "./language.js";

// Half a character is no word to offer: such a token comes as escaped bytes or as U+FFFD.
const isWhole = (text) => !text.startsWith("bytes:") && !text.includes("\uFFFD");

/** @returns {{text, logprob}[]} likeliest first */
function readRanking(top) {
  return Object.entries(top ?? {})
    .filter(([text]) => isWhole(text))
    .map(([text, logprob]) => ({ text, logprob }))
    .sort((a, b) => b.logprob - a.logprob);
}

/**
 * @param choice one choice of a completion event
 * @returns {{text, logprob, ranking}[]} tokens whose texts join to the choice's text;
 *   empty when the server gave no log probabilities
 */
export function readTokens({ text, logprobs }) {
  if (!text || !logprobs?.tokens?.length) return [];
  const { tokens, token_logprobs: values, top_logprobs: tops } = logprobs;
  if (tokens.join("") === text) {
    return tokens.map((token, i) => ({
      text: token,
      logprob: values[i],
      ranking: readRanking(tops?.[i]),
    }));
  }
  // Several tokens made one character: as one unit it is as likely as all of them together.
  const logprob = values.reduce((sum, value) => sum + (value ?? 0), 0);
  return [{ text, logprob, ranking: [] }];
}

/** @returns {{text, logprob, ranking}[]} of an echoed prompt, token by token */
export function readScored({ tokens, token_logprobs: values, top_logprobs: tops }) {
  return tokens.map((text, i) => ({ text, logprob: values[i], ranking: readRanking(tops?.[i]) }));
}

/** @returns {number} 0 (sure) to 5 (a guess): the shade of a token */
export function doubt(logprob) {
  const probability = Math.exp(logprob);
  // Even a good guess is seldom above one half: text has many ways on.
  const bounds = [0.4, 0.15, 0.06, 0.02, 0.006];
  const step = bounds.findIndex((bound) => probability >= bound);
  return step === -1 ? bounds.length : step;
}

/** @returns {string} a probability as people say it */
export function percent(logprob) {
  const value = Math.exp(logprob) * 100;
  if (value < 0.1) return say("under 0.1 %");
  if (value > 99.9) return say("over 99.9 %");
  return `${decimal(value, value < 10 ? 1 : 0)} %`;
}
