/** Says to screen readers what others see: a continuation when it is whole, and what went wrong. */
export class Announcer {
  #element;
  #wasWriting = false;

  constructor(element) {
    this.#element = element;
  }

  say(words) {
    this.#element.textContent = words;
  }

  /** Reads out what was written once it is complete, not word by word. */
  follow({ writing, endless, ghost, choices }) {
    const ended = this.#wasWriting && !writing;
    this.#wasWriting = writing;
    if (writing && !endless && !ghost?.text && !choices?.[0].text) this.say("Writing.");
    if (!ended) return;
    if (choices) {
      this.say(`${choices.length} ways to choose from, with the keys 1 to ${choices.length}.`);
    } else if (ghost?.text) this.say(`${ghost.text.trim()}. Tab accepts, Escape drops.`);
  }
}
