/** Alternatives side by side, to choose one. */
export class Choices {
  #section;
  #list;

  /** @param onChoose takes the index of the card */
  constructor(section, onChoose, onDrop) {
    this.#section = section;
    this.#list = section.querySelector("ol");
    section.addEventListener("click", ({ target }) => {
      const card = target.closest("button");
      if (card) onChoose(this.#cards.indexOf(card));
    });
    section.addEventListener("keydown", (event) => this.#onKey(event, onChoose, onDrop));
  }

  render({ choices, writing }) {
    const wasHidden = this.#section.hidden;
    this.#section.hidden = choices === null;
    if (!choices) {
      this.#list.replaceChildren();
      return;
    }
    if (this.#cards.length !== choices.length) this.#deal(choices.length);
    this.#cards.forEach((card, index) => {
      const words = card.querySelector("[data-words]");
      if (words.textContent !== choices[index].text) words.textContent = choices[index].text;
      card.classList.toggle("is-writing", writing && choices[index].finish === null);
    });
    if (wasHidden) this.#cards[0].focus({ preventScroll: true });
  }

  get #cards() {
    return [...this.#list.querySelectorAll("button")];
  }

  #deal(count) {
    const template = this.#section.querySelector("template");
    this.#list.replaceChildren(
      ...Array.from({ length: count }, (_, index) => {
        const item = template.content.cloneNode(true);
        item.querySelector("[data-number]").textContent = index + 1;
        return item;
      }),
    );
  }

  #onKey(event, onChoose, onDrop) {
    const cards = this.#cards;
    const at = cards.indexOf(document.activeElement);
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") onDrop();
    else if (Number(event.key) >= 1 && Number(event.key) <= cards.length) {
      onChoose(Number(event.key) - 1);
    } else if (step) cards[at + step]?.focus();
    else return;
    event.preventDefault();
  }
}
