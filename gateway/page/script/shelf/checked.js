/**
 * What came with a file or a link, as far as it is what this page writes: anybody may have written
 * it, so nothing of it is taken for granted.
 */

import { readWords } from "../guidance/guidance.js";

const NUMBERS = ["max_tokens", "count", "temperature", "top_p", "seed"];
const TEXTS = ["until", "memory", "note", "form", "pattern"];
const LONGEST_TITLE = 200;
/** Room for branches that are written from here on. */
const LARGEST_ID = 2 ** 40;

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const isText = (value) => typeof value === "string";
const isCount = (value) => Number.isSafeInteger(value) && value >= 0;
/** A log probability, or null where it is not known. */
const isLikelihood = (value) => value === null || Number.isFinite(value);

/** @returns {{title, settings, current}} of a text's card */
export function readCard({ title, settings, current }) {
  return {
    title: isText(title) ? title.slice(0, LONGEST_TITLE) : "",
    settings: readSettings(settings),
    current: isCount(current) ? current : null,
  };
}

function readSettings(settings) {
  if (!isObject(settings)) return {};
  const found = {};
  for (const name of NUMBERS) if (Number.isFinite(settings[name])) found[name] = settings[name];
  for (const name of TEXTS) if (isText(settings[name])) found[name] = settings[name];
  const words = readWords(settings.words);
  return words.length ? { ...found, words } : found;
}

/** @returns {object[] | null} null: they make no tree */
export function readBranches(branches) {
  if (!Array.isArray(branches)) return null;
  const lengths = new Map([[null, 0]]);
  const read = [];
  for (const branch of branches.toSorted((a, b) => a?.id - b?.id)) {
    const { id, parent, added, by } = branch ?? {};
    const isBranch =
      isCount(id) &&
      id <= LARGEST_ID &&
      !lengths.has(id) &&
      lengths.has(parent) &&
      isCount(branch.keep) &&
      isCount(branch.tail) &&
      isText(added) &&
      ["writer", "model"].includes(by);
    if (!isBranch) return null;
    // No more can be kept of the parent's text than there is.
    const keep = Math.min(branch.keep, lengths.get(parent));
    const tail = Math.min(branch.tail, lengths.get(parent) - keep);
    lengths.set(id, keep + added.length + tail);
    read.push({
      id,
      parent,
      keep,
      added,
      tail,
      by,
      state: branch.state === "taken" ? "taken" : "dropped",
      pinned: branch.pinned === true,
      time: Number.isFinite(branch.time) ? branch.time : 0,
      made: readMade(branch.made),
      tokens: readTokens(branch.tokens, added),
    });
  }
  return read;
}

/** How a branch can be had again; null: nobody knows. */
export function readMade(made) {
  if (!isObject(made) || !isObject(made.settings)) return null;
  const { seed, settings, n, index, digest, model } = made;
  if (![seed, n, index].every(isCount)) return null;
  return {
    seed,
    settings,
    n,
    index,
    digest: isText(digest) ? digest : null,
    model: isText(model) ? model : null,
  };
}

/** The tokens of a branch where they make up its words; else none. */
function readTokens(tokens, added) {
  const isOne = (one) => Array.isArray(one) && isText(one[0]) && isLikelihood(one[1]);
  const isToken = (token) => isOne(token) && Array.isArray(token[2]) && token[2].every(isOne);
  if (!Array.isArray(tokens) || !tokens.every(isToken)) return [];
  return tokens.map(([text]) => text).join("") === added ? tokens : [];
}
