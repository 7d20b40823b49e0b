/** The page's words in the person's language. English is what stands in the code. */

let catalogue = {};

/**
 * @param english words, with `{name}` where a value goes
 * @returns {string} the same in the language that is set
 */
export function say(english, values = {}) {
  const words = catalogue[english] ?? english;
  return words.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}
