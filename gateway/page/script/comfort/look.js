/** How the text looks, how it moves while one writes; the same for all texts of a browser. */

import { LANGUAGES, language, useLanguage } from "../language.js";

const PLACE = "look";
const SIZES = { least: 0.8, most: 2 };
const WIDTHS = { least: 28, most: 72 };
const USUAL = { size: 1, width: 42, typewriter: false, focus: false };

const within = (value, { least, most }) => Math.min(Math.max(Number(value), least), most);

function read() {
  try {
    return { ...USUAL, ...JSON.parse(localStorage.getItem(PLACE)) };
  } catch {
    return USUAL; // Storage is shut off, or holds something else.
  }
}

export class Look extends EventTarget {
  #values = read();
  #form;

  /** @param form has the fields `size` and `width` (sliders), `typewriter` and `focus` (boxes) */
  constructor(form) {
    super();
    this.#form = form;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", ({ target }) => {
      if (!(target.name in USUAL)) return;
      this.set(target.name, target.type === "checkbox" ? target.checked : Number(target.value));
    });
    const { interface: picker } = form.elements;
    picker.append(...Object.entries(LANGUAGES).map(([code, name]) => new Option(name, code)));
    picker.value = language;
    picker.addEventListener("change", () => useLanguage(picker.value));
    this.#show();
  }

  get typewriter() {
    return this.#values.typewriter === true;
  }

  get focus() {
    return this.#values.focus === true;
  }

  set(name, value) {
    this.#values = { ...this.#values, [name]: value };
    this.#show();
    try {
      localStorage.setItem(PLACE, JSON.stringify(this.#values));
    } catch {
      // It is so until the page is closed.
    }
    this.dispatchEvent(new Event("change"));
  }

  #show() {
    const { style } = document.documentElement;
    const size = within(this.#values.size, SIZES) || 1;
    const width = within(this.#values.width, WIDTHS) || USUAL.width;
    style.setProperty("--text-scale", size);
    style.setProperty("--text-width", `${width}rem`);
    document.body.classList.toggle("is-typewriter", this.typewriter);
    document.body.classList.toggle("is-focusing", this.focus);
    const fields = this.#form.elements;
    for (const [name, value, bounds] of [["size", size, SIZES], ["width", width, WIDTHS]]) {
      fields[name].value = value;
      const filled = (value - bounds.least) / (bounds.most - bounds.least);
      fields[name].style.setProperty("--filled", filled);
    }
    fields.typewriter.checked = this.typewriter;
    fields.focus.checked = this.focus;
    for (const name of ["typewriter", "focus"]) {
      const button = document.querySelector(`[data-act="${name}"]`);
      button?.setAttribute("aria-pressed", String(this[name]));
    }
  }
}
