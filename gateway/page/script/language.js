/** The page's words in the person's language. English is what stands in the code. */

const PLACE = "language";

/** By their own names. A catalogue is loaded when its language is asked for. */
export const LANGUAGES = {
  en: "English",
  de: "Deutsch",
  es: "Español",
  fr: "Français",
  ja: "日本語",
  zh: "中文",
};

function stored() {
  try {
    return localStorage.getItem(PLACE);
  } catch {
    return null; // Storage is shut off: the browser's languages it is.
  }
}

/** @returns {string} the first language that the person reads and the page has */
function choose() {
  const asked = new URLSearchParams(location.search).get(PLACE);
  const wanted = [asked, stored(), ...navigator.languages].map((code) => code?.slice(0, 2).toLowerCase());
  return wanted.find((code) => Object.hasOwn(LANGUAGES, code)) ?? "en";
}

export const language = choose();

async function load() {
  if (language === "en") return {};
  try {
    return await (await fetch(`page/language/${language}.json`)).json();
  } catch {
    return {}; // English is better than nothing.
  }
}

document.documentElement.lang = language;
// Whoever imports `say` has the words before a line of theirs runs.
const catalogue = await load();

/**
 * @param english words, with `{name}` where a value goes
 * @returns {string} the same in the language that is set
 */
export function say(english, values = {}) {
  const words = catalogue[english] ?? english;
  return words.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

// Made once: to make one takes longer than to write a number with it.
const numbers = new Intl.NumberFormat(language);

/** @returns {string} a number as the language that is set writes it */
export const number = (value) => numbers.format(value);

/** @returns {string} a number with so many decimals, as the language that is set writes it */
export function decimal(value, digits) {
  const places = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return value.toLocaleString(language, places);
}

/** Puts the words that stand in the document into the language that is set. */
export function translate(root) {
  if (language === "en") return;
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (node.nodeType === Node.TEXT_NODE) node.data = translated(node.data);
    else {
      for (const name of ["aria-label", "title", "placeholder"]) {
        if (node.hasAttribute(name)) node.setAttribute(name, translated(node.getAttribute(name)));
      }
    }
  }
}

/** The words between the spaces that the document has around them. */
function translated(text) {
  const words = text.trim();
  return words ? text.replace(words, () => say(words)) : text;
}

/** @param code one of LANGUAGES; the page is loaded again in it */
export function useLanguage(code) {
  try {
    localStorage.setItem(PLACE, code);
  } catch {
    // Storage is shut off: the address has to keep it.
    location.search = new URLSearchParams({ [PLACE]: code });
    return;
  }
  location.reload();
}
