/** The part of the settings where notes are written, words listed and a form is chosen. */

import { icon, make } from "../dom.js";
import { say } from "../language.js";
import { patternOf } from "./forms.js";
import { leaningWords } from "./leaning.js";

/** What the field beside a form is for; none for the others. */
const FIELDS = {
  rhyme: { words: () => say("Lines end with one of"), example: () => "day, away, say" },
  own: { words: () => say("Pattern (a regular expression)"), example: () => "(\\n- [^\\n]{5,60}){3}" },
};

export class GuidancePanel {
  #guidance;
  #form;
  #list;
  #tokens;

  /** @param tokens a function that gives the tokens that are a word; none where it takes several */
  constructor(form, guidance, tokens) {
    this.#form = form;
    this.#guidance = guidance;
    this.#tokens = tokens;
    this.#list = form.querySelector("[data-words-list]");
    form.querySelector("[data-add]").addEventListener("click", () => this.#add());
    form.elements.word.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      this.#add();
    });
    guidance.addEventListener("change", () => this.render());
    this.render();
  }

  /** @param facts of the model: whether the service has forms */
  adopt(facts) {
    this.#form.querySelector("[data-form]").hidden = !facts.structured_outputs;
  }

  render() {
    const { words, notes } = this.#guidance;
    const { form, pattern } = this.#form.elements;
    this.#list.replaceChildren(...words.map((word) => this.#row(word)));
    const label = FIELDS[form.value]?.words();
    pattern.placeholder = FIELDS[form.value]?.example() ?? "";
    pattern.parentElement.hidden = !label;
    this.#form.querySelector("[for=pattern]").textContent = label ?? "";
    this.#form.querySelector("[data-form-words]").textContent =
      label && !patternOf(form.value, pattern.value)
        ? say("Write it here: until then the form is free.")
        : say("Text longer than the length above is cut before its form is complete.");
    const isHeld = patternOf(form.value, pattern.value) !== null;
    const marks = { notes: notes.memory || notes.note, words: words.length, form: isHeld };
    for (const part of this.#form.querySelectorAll("details")) {
      part.classList.toggle("is-set", Boolean(marks[part.dataset.part]));
    }
  }

  #row({ text, by }) {
    const remove = () => {
      this.#guidance.set(text, 0);
      this.#form.elements.word.focus();
    };
    return make(
      "li",
      {},
      make("span.word", { dir: "auto" }, text.trim() || "↵"),
      make("span.leaning", {}, leaningWords(by)),
      make(
        "button.icon-button",
        { "aria-label": say("No longer: {word}", { word: text.trim() }), click: remove },
        icon("close"),
      ),
    );
  }

  async #add() {
    const { word, leaning } = this.#form.elements;
    const said = this.#form.querySelector("[data-words-said]");
    const text = word.value.trim();
    said.textContent = "";
    word.focus();
    if (!text) return;
    if (leaning.value !== "never" && !(await this.#canBeWeighed(text))) {
      said.textContent = say("“{word}” is several tokens to this model: it can be banned, not weighed.", {
        word: text,
      });
      return;
    }
    this.#guidance.set(text, leaning.value === "never" ? "never" : Number(leaning.value));
    word.value = "";
  }

  async #canBeWeighed(text) {
    try {
      return (await this.#tokens(text)).length > 0;
    } catch (error) {
      if (!error.kind) throw error;
      return true; // Nobody answers now: it is seen when the word is used.
    }
  }
}
