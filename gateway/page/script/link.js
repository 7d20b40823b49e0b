/** A text, its seed and its settings as a link. All of it is in the fragment: no server sees it. */

const NUMBERS = ["seed", "max_tokens", "temperature", "top_p"];
/** What else there may be to say: notes, words and a form, and where a piece ends. */
const BESIDES = ["memory", "note", "words", "form", "pattern", "until", "count"];

/** @returns {string} an address that opens this page with the same text, seed and settings */
export function makeLink(address, { text, ...values }) {
  const fields = new URLSearchParams({ text });
  for (const name of NUMBERS) fields.set(name, values[name]);
  const besides = Object.fromEntries(
    BESIDES.filter((name) => values[name] !== undefined).map((name) => [name, values[name]]),
  );
  if (Object.keys(besides).length) fields.set("with", JSON.stringify(besides));
  const link = new URL(address);
  link.hash = fields.toString();
  return link.href;
}

/** @returns {{text, seed?, max_tokens?, temperature?, memory?} | null} null: no such link */
export function readLink(hash) {
  const fields = new URLSearchParams(hash.replace(/^#/, ""));
  if (!fields.has("text")) return null;
  const values = { text: fields.get("text") };
  for (const name of NUMBERS) {
    const value = Number.parseFloat(fields.get(name));
    if (Number.isFinite(value)) values[name] = value;
  }
  return { ...readBesides(fields.get("with")), ...values };
}

/** @returns {string | null} a whole tree, for `story/link.js`; null: no such link */
export function readTreeLink(hash) {
  return new URLSearchParams(hash.replace(/^#/, "")).get("story");
}

function readBesides(text) {
  try {
    const read = JSON.parse(text) ?? {};
    return Object.fromEntries(BESIDES.filter((name) => name in read).map((name) => [name, read[name]]));
  } catch {
    return {}; // A link that somebody cut: the text and its numbers are there all the same.
  }
}
