/** Length, temperature, top-p and seed: what the person set, and the words below. */

import { lengthWords, temperatureWords, topPWords } from "./words.js";

const SLIDERS = {
  max_tokens: { words: lengthWords, show: (value) => `${value} tokens` },
  temperature: { words: temperatureWords, show: (value) => value.toFixed(2) },
  top_p: { words: topPWords, show: (value) => value.toFixed(2) },
};
const LARGEST_SEED = 2 ** 31 - 1;

const randomSeed = () => Math.floor(Math.random() * 1_000_000);

export class Settings {
  #form;
  #touched = new Set();
  #defaults = {};

  /** @param form holds the sliders, `fixed` (a checkbox) and `seed` (a number) */
  constructor(form) {
    this.#form = form;
    for (const name of Object.keys(SLIDERS)) {
      form.elements[name].addEventListener("input", () => {
        this.#touched.add(name);
        this.#describe(name);
      });
      this.#describe(name);
    }
    const { fixed, seed } = form.elements;
    fixed.addEventListener("change", () => this.#showSeed());
    seed.addEventListener("input", () => {
      fixed.checked = seed.value !== "";
    });
    seed.addEventListener("change", () => {
      if (seed.value !== "") seed.value = this.#seed();
    });
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  /** The defaults and bounds of the model that is loaded; what the person set stays. */
  adopt({ defaults = {}, context_length: context }) {
    const { max_tokens: length } = this.#form.elements;
    this.#defaults = defaults;
    if (context) length.max = Math.min(Number(length.max), Math.floor(context / 2));
    for (const name of Object.keys(SLIDERS)) {
      if (defaults[name] !== undefined && !this.#touched.has(name)) this.#set(name, defaults[name]);
    }
  }

  /** What the person set, to be kept with a text. */
  get chosen() {
    const values = this.#values;
    const chosen = Object.fromEntries([...this.#touched].map((name) => [name, values[name]]));
    return this.seedIsFixed ? { ...chosen, seed: this.#seed() } : chosen;
  }

  /** What was kept with a text; all else is the model's own again. */
  restore(chosen) {
    this.#touched.clear();
    this.#form.elements.fixed.checked = false;
    for (const name of Object.keys(SLIDERS)) {
      if (this.#defaults[name] !== undefined) this.#set(name, this.#defaults[name]);
    }
    this.apply(chosen);
  }

  /** Values from a link: as good as set by hand. */
  apply(values) {
    for (const name of Object.keys(SLIDERS)) {
      if (values[name] === undefined) continue;
      this.#touched.add(name);
      this.#set(name, values[name]);
    }
    if (values.seed !== undefined) this.fixSeed(values.seed);
  }

  /** Options of a request. A seed is always in it, so that any text can be had again. */
  options() {
    const options = this.#values;
    if (!this.seedIsFixed) this.#form.elements.seed.value = randomSeed();
    return { ...options, seed: this.#seed() };
  }

  get #values() {
    return Object.fromEntries(
      Object.keys(SLIDERS).map((name) => [name, Number(this.#form.elements[name].value)]),
    );
  }

  get seedIsFixed() {
    return this.#form.elements.fixed.checked && this.#form.elements.seed.value !== "";
  }

  fixSeed(seed) {
    this.#form.elements.seed.value = seed;
    this.#form.elements.fixed.checked = true;
  }

  #seed() {
    const value = Math.trunc(Number(this.#form.elements.seed.value));
    return Math.min(Math.max(value || 0, 0), LARGEST_SEED);
  }

  #showSeed() {
    const { fixed, seed } = this.#form.elements;
    if (fixed.checked && seed.value === "") seed.value = randomSeed();
  }

  #set(name, value) {
    this.#form.elements[name].value = value;
    this.#describe(name);
  }

  #describe(name) {
    const slider = this.#form.elements[name];
    const value = Number(slider.value);
    const words = SLIDERS[name].words(value);
    const shown = SLIDERS[name].show(value);
    const filled = (value - slider.min) / (slider.max - slider.min);
    slider.style.setProperty("--filled", filled);
    slider.setAttribute("aria-valuetext", `${shown}. ${words}`);
    this.#form.querySelector(`[data-value="${name}"]`).textContent = shown;
    this.#form.querySelector(`[data-words="${name}"]`).textContent = words;
  }
}
