/** Length, temperature, top-p and seed: what the person set, and the words below. */

import { decimal } from "./language.js";
import { presetOf, PRESETS } from "./presets.js";
import { countWords, lengthWords, temperatureWords, topPWords } from "./words.js";

const TOKENS = "tokens";
const SLIDERS = {
  max_tokens: { words: lengthWords, show: String },
  count: { words: (value, unit) => countWords(value, unit), show: String },
  temperature: { words: temperatureWords, show: (value) => decimal(value, 2) },
  top_p: { words: topPWords, show: (value) => decimal(value, 2) },
};
const LARGEST_SEED = 2 ** 31 - 1;

const randomSeed = () => Math.floor(Math.random() * 1_000_000);

export class Settings {
  #form;
  #touched = new Set();
  #defaults = {};

  /** @param form holds the sliders, `unit`, the presets, `fixed` (a checkbox) and `seed` */
  constructor(form) {
    this.#form = form;
    for (const name of Object.keys(SLIDERS)) {
      form.elements[name].addEventListener("input", () => {
        this.#touched.add(name);
        this.#describe(name);
        this.#showPreset();
      });
    }
    const { fixed, seed, unit } = form.elements;
    unit.addEventListener("change", () => this.#showUnit());
    fixed.addEventListener("change", () => this.#showSeed());
    seed.addEventListener("input", () => {
      fixed.checked = seed.value !== "";
    });
    seed.addEventListener("change", () => {
      if (seed.value !== "") seed.value = this.#seed();
    });
    form.addEventListener("submit", (event) => event.preventDefault());
    form.querySelector("[data-presets]").addEventListener("click", ({ target }) => {
      const name = target.closest("[data-preset]")?.dataset.preset;
      if (name) this.#usePreset(name);
    });
    this.#showUnit();
    for (const name of Object.keys(SLIDERS)) this.#describe(name);
    this.#showPreset();
  }

  /** The defaults and bounds of the model that is loaded; what the person set stays. */
  adopt({ defaults = {}, context_length: context }) {
    const { max_tokens: length } = this.#form.elements;
    this.#defaults = defaults;
    if (context) length.max = Math.min(Number(length.max), Math.floor(context / 2));
    for (const name of Object.keys(SLIDERS)) {
      if (defaults[name] !== undefined && !this.#touched.has(name)) this.#set(name, defaults[name]);
    }
    this.#showPreset();
  }

  /** What the person set, to be kept with a text. */
  get chosen() {
    const values = this.#values;
    const chosen = Object.fromEntries([...this.#touched].map((name) => [name, values[name]]));
    if (this.#unit !== TOKENS) Object.assign(chosen, { until: this.#unit, count: values.count });
    return this.seedIsFixed ? { ...chosen, seed: this.#seed() } : chosen;
  }

  /** What was kept with a text; all else is the model's own again. */
  restore(chosen) {
    this.#touched.clear();
    this.#form.elements.fixed.checked = false;
    this.#form.elements.unit.value = TOKENS;
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
    if (["sentence", "paragraph"].includes(values.until)) {
      this.#form.elements.unit.value = values.until;
    }
    if (values.seed !== undefined) this.fixSeed(values.seed);
    this.#showUnit();
    this.#showPreset();
  }

  /** Options of a request. A seed is always in it, so that any text can be had again. */
  options() {
    const { count, ...options } = this.#values;
    if (!this.seedIsFixed) this.#form.elements.seed.value = randomSeed();
    const until = this.#unit === TOKENS ? {} : { until: this.#unit, count };
    return { ...options, ...until, seed: this.#seed() };
  }

  /** How many tokens a continuation takes of what the model reads. */
  get length() {
    return this.#values.max_tokens;
  }

  get #unit() {
    return this.#form.elements.unit.value;
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

  #showUnit() {
    const isTokens = this.#unit === TOKENS;
    this.#form.elements.max_tokens.hidden = !isTokens;
    this.#form.elements.count.hidden = isTokens;
    this.#describe(isTokens ? "max_tokens" : "count");
  }

  #usePreset(name) {
    for (const [field, value] of Object.entries(PRESETS[name] ?? this.#defaults)) {
      if (field !== "temperature" && field !== "top_p") continue;
      if (name === "own") this.#touched.delete(field);
      else this.#touched.add(field);
      this.#set(field, value);
    }
    this.#showPreset();
    this.#form.dispatchEvent(new Event("input"));
  }

  #showPreset() {
    // Before the model has said what its own manner is, it is what nobody changed.
    const isOwn = !this.#touched.has("temperature") && !this.#touched.has("top_p");
    const { temperature, top_p } = this.#values;
    const { name, words } = presetOf(this.#values, isOwn ? { temperature, top_p } : this.#defaults);
    for (const button of this.#form.querySelectorAll("[data-preset]")) {
      button.setAttribute("aria-pressed", String(button.dataset.preset === name));
    }
    this.#form.querySelector("[data-preset-words]").textContent = words;
  }

  #set(name, value) {
    this.#form.elements[name].value = value;
    this.#describe(name);
  }

  #describe(name) {
    const slider = this.#form.elements[name];
    const value = Number(slider.value);
    const words = SLIDERS[name].words(value, this.#unit);
    const shown = SLIDERS[name].show(value);
    const filled = (value - slider.min) / (slider.max - slider.min);
    slider.style.setProperty("--filled", filled);
    slider.setAttribute("aria-valuetext", `${shown}. ${words}`);
    if (slider.hidden) return;
    const place = name === "count" ? "max_tokens" : name;
    this.#form.querySelector(`[data-value="${place}"]`).textContent = shown;
    this.#form.querySelector(`[data-words="${place}"]`).textContent = words;
  }
}
