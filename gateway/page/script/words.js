/** What the numbers mean, in words. */

import { language, say } from "./language.js";

const pick = (value, steps) => steps.find(([bound]) => value <= bound)[1];

/** About three words to four tokens of English. */
export function lengthWords(tokens) {
  const words = Math.max(1, Math.round(tokens * 0.75));
  const size = pick(tokens, [
    [4, say("a word or three")],
    [14, say("half a sentence")],
    [30, say("a sentence")],
    [70, say("a few sentences")],
    [140, say("a paragraph")],
    [Infinity, say("half a page")],
  ]);
  return words === 1 ? say("About 1 word: {size}.", { size }) : say("About {n} words: {size}.", { n: words, size });
}

/** @param unit `sentence` or `paragraph` */
export function countWords(value, unit) {
  if (unit === "paragraph") {
    return value === 1 ? say("To the end of a paragraph.") : say("{n} paragraphs.", { n: value });
  }
  return value === 1 ? say("To the end of a sentence.") : say("{n} sentences.", { n: value });
}

export function temperatureWords(value) {
  return pick(value, [
    [0, say("Always the most likely word. It soon goes in circles.")],
    [0.4, say("Careful: few surprises, some repetition.")],
    [0.9, say("Steady: keeps to the thread, with some surprises.")],
    [1.1, say("Lively: as varied as what it has read.")],
    [1.4, say("Wild: odd turns, loose grammar.")],
    [Infinity, say("Feverish: words fall where they may.")],
  ]);
}

export function topPWords(value) {
  if (value >= 1) return say("Every word has its chance, even the silliest.");
  const left = Math.round((1 - value) * 100);
  return pick(value, [
    [0.3, say("Only the most likely words may come.")],
    [0.7, say("A short list of likely words.")],
    [1, say("The least likely {n} % never come.", { n: left })],
  ]);
}

/** @returns {string} 5900000 as "5.9 million", in the person's language */
export function count(value) {
  const style = { notation: "compact", compactDisplay: "long", maximumSignificantDigits: 3 };
  return value.toLocaleString(language, style);
}

/** @param code of a language, as `de` */
export function languageWords(code) {
  const name = new Intl.DisplayNames(language, { type: "language" }).of(code);
  return say("This reads like {name}. The model has learnt English, so expect nonsense.", { name });
}

const CUTS = {
  worker_lost: say("The model was lost while it was writing."),
  engine_error: say("The model failed while it was writing."),
  stalled: say("The model stalled while it was writing."),
  drained: say("The service is shutting down."),
};

/** Why a text ended before its time; `code` is the service's word for it, if it had one. */
export function cutWords(code) {
  return CUTS[code] ?? say("The connection broke off.");
}

const FAILURES = {
  worker_lost: say("The model was lost before it could answer."),
  lost_request: say("The model was lost before it could answer."),
  engine_error: say("The model failed before it could answer."),
  stalled: say("The model took too long to answer."),
};

/** Why no text came at all, through no fault of the request; `code` as above. */
export function failureWords(code) {
  return FAILURES[code] ?? say("The service could not answer: something in it failed.");
}

/** Why the service refuses a request: its own words, without the marks around code. */
export function refusalWords(message) {
  return message.replaceAll("`", "").replace(/[^.!?]$/, "$&.");
}
