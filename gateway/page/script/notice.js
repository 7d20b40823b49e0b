/** One quiet line above the tools that says what is the matter and what can be done. */
export class Notice {
  #element;
  #words;
  #buttons;
  #announcer;

  constructor(element, announcer) {
    this.#element = element;
    this.#announcer = announcer;
    this.#words = element.querySelector("[data-words]");
    this.#buttons = element.querySelector("[data-buttons]");
  }

  /**
   * @param kind `wait`, `trouble` or `hint`: how it looks
   * @param words for people
   * @param actions names of buttons and what they do
   */
  show(kind, words, actions = {}) {
    this.#element.dataset.kind = kind;
    this.#element.hidden = false;
    this.say(words);
    this.#announcer.say(words);
    this.#buttons.replaceChildren(
      ...Object.entries(actions).map(([label, act]) => {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = label;
        button.addEventListener("click", act);
        return button;
      }),
    );
  }

  /** Changes the words alone, for a count that runs down. */
  say(words) {
    if (this.#words.textContent !== words) this.#words.textContent = words;
  }

  clear() {
    this.#element.hidden = true;
    this.#words.textContent = "";
    this.#buttons.replaceChildren();
  }
}
