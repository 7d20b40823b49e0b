/** A text, its seed and its settings as a link. All of it is in the fragment: no server sees it. */

const NUMBERS = ["seed", "max_tokens", "temperature", "top_p"];

/** @returns {string} an address that opens this page with the same text, seed and settings */
export function makeLink(address, { text, ...values }) {
  const fields = new URLSearchParams({ text });
  for (const name of NUMBERS) fields.set(name, values[name]);
  const link = new URL(address);
  link.hash = fields.toString();
  return link.href;
}

/** @returns {{text, seed?, max_tokens?, temperature?, top_p?} | null} null: no such link */
export function readLink(hash) {
  const fields = new URLSearchParams(hash.replace(/^#/, ""));
  if (!fields.has("text")) return null;
  const values = { text: fields.get("text") };
  for (const name of NUMBERS) {
    const value = Number.parseFloat(fields.get(name));
    if (Number.isFinite(value)) values[name] = value;
  }
  return values;
}

/** @returns {string | null} a whole tree, for `story/link.js`; null: no such link */
export function readTreeLink(hash) {
  return new URLSearchParams(hash.replace(/^#/, "")).get("story");
}
