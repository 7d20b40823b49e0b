/** Reads the text aloud, by the browser's own voices: from the caret on, or what is selected. */

/** Some voices stop in a long utterance: each gets a paragraph. */
const paragraphs = (text) => text.split(/\n+/).filter((part) => part.trim());

export class Aloud {
  #onChange;
  #language;
  #turn = 0;
  isReading = false;

  /** @param language a function that gives the text's language, as `en` */
  constructor(onChange, language) {
    this.#onChange = onChange;
    this.#language = language;
    addEventListener("pagehide", () => this.stop());
  }

  /** @param text the whole; `start` and `end` of what is selected, or both where the caret is */
  toggle(text, start, end) {
    if (this.isReading) return this.stop();
    // A caret at the very end has nothing behind it: then all of it is read.
    const rest = text.slice(start).trim() === "" ? text : text.slice(start);
    const parts = paragraphs(end > start ? text.slice(start, end) : rest);
    if (parts.length) this.#speak(parts);
  }

  stop() {
    if (!this.isReading) return;
    this.#turn += 1;
    speechSynthesis.cancel();
    this.#set(false);
  }

  #speak(parts) {
    const turn = (this.#turn += 1);
    this.#set(true);
    parts.forEach((part, at) => {
      const speech = new SpeechSynthesisUtterance(part);
      speech.lang = this.#language();
      const isLast = at === parts.length - 1;
      const ended = () => turn === this.#turn && this.#set(false);
      if (isLast) speech.addEventListener("end", ended);
      speech.addEventListener("error", ended);
      speechSynthesis.speak(speech);
    });
  }

  #set(isReading) {
    this.isReading = isReading;
    this.#onChange(isReading);
  }
}
