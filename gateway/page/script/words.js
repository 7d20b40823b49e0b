/** What the numbers mean, in words. */

const pick = (value, steps) => steps.find(([bound]) => value <= bound)[1];

/** About three words to four tokens of English. */
export function lengthWords(tokens) {
  const words = Math.max(1, Math.round(tokens * 0.75));
  const size = pick(tokens, [
    [4, "a word or three"],
    [14, "half a sentence"],
    [30, "a sentence"],
    [70, "a few sentences"],
    [140, "a paragraph"],
    [Infinity, "half a page"],
  ]);
  return `About ${words} ${words === 1 ? "word" : "words"}: ${size}.`;
}

export function temperatureWords(value) {
  return pick(value, [
    [0, "Always the likeliest word. It soon goes in circles."],
    [0.4, "Careful: few surprises, some repetition."],
    [0.9, "Steady: keeps to the thread, with some surprises."],
    [1.1, "Lively: as varied as what it has read."],
    [1.4, "Wild: odd turns, loose grammar."],
    [Infinity, "Feverish: words fall where they may."],
  ]);
}

export function topPWords(value) {
  if (value >= 1) return "Every word has its chance, even the silliest.";
  const left = Math.round((1 - value) * 100);
  return pick(value, [
    [0.3, "Only the front runners may come."],
    [0.7, "A short list of likely words."],
    [1, `The least likely ${left} % never come.`],
  ]);
}

/** @returns {string} 5900000 as "5.9 million" */
export function count(value) {
  const units = [
    [1e9, "billion"],
    [1e6, "million"],
    [1e3, "thousand"],
  ];
  for (const [size, name] of units) {
    if (value >= size) return `${Number((value / size).toPrecision(3))} ${name}`;
  }
  return String(value);
}

export const plural = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

/** @param code of a language, as `de` */
export function languageWords(code) {
  const name = new Intl.DisplayNames("en", { type: "language" }).of(code);
  return `This reads like ${name}. The model has learnt English, so expect nonsense.`;
}

const CUTS = {
  worker_lost: "The model was lost while it was writing.",
  engine_error: "The model failed while it was writing.",
  stalled: "The text stood still for too long.",
  drained: "The service is shutting down.",
};

/** Why a text ended before its time; `code` is the service's word for it, if it had one. */
export function cutWords(code) {
  return CUTS[code] ?? "The connection broke off.";
}

const FAILURES = {
  worker_lost: "The model was lost before it could answer.",
  lost_request: "The model was lost before it could answer.",
  engine_error: "The model failed before it could answer.",
  stalled: "The model took too long to answer.",
};

/** Why no text came at all, through no fault of the request; `code` as above. */
export function failureWords(code) {
  return FAILURES[code] ?? "The service could not answer: something in it failed.";
}

/** Why the service refuses a request: its own words, without the marks around code. */
export function refusalWords(message) {
  return message.replaceAll("`", "").replace(/[^.!?]$/, "$&.");
}
