/** The view *How sure it was*: of the model's words, or, once all of it was read, of every word. */

import { needStyle } from "./dom.js";
import { Manuscript } from "./manuscript.js";

const $ = (selector) => document.querySelector(selector);

export class Certainty {
  isShown = false;
  #parts;
  #acts;
  #reading = null;
  #surveyed = null;
  #panel = null;

  /**
   * @param parts `writer`, `model()` (its context and how many alternatives it tells), `service`,
   *   `attempt(task)`, `drop()`, `draw()`
   * @param acts of the card of a word, see `RunnersUp`
   */
  constructor(parts, acts) {
    this.#parts = parts;
    this.#acts = acts;
    $("#survey-read").addEventListener("click", () => this.#readAll());
  }

  /** Shows the view, or the paper again; what draws it is loaded with the first time. */
  async toggle() {
    if (!this.#reading) {
      const [{ Reading }] = await Promise.all([import("./reading.js"), needStyle("certainty")]);
      this.#reading ??= new Reading($("#reading"), this.#acts);
    }
    this.isShown = !this.isShown;
  }

  /** @returns {boolean} whether the view stands in the paper's place */
  render() {
    const { writer, model } = this.#parts;
    const { text } = writer.manuscript;
    const isOn = this.isShown && model().ranked > 0;
    document.body.classList.toggle("is-reading", isOn);
    $("#editor").hidden = isOn;
    $("#reading").hidden = !isOn;
    const button = $('[data-act="certainty"]');
    button.hidden = model().ranked === 0;
    button.setAttribute("aria-pressed", String(isOn));
    const isSurveyed = this.#surveyed?.text === text && !writer.ghost;
    if (isOn) this.#reading.render(isSurveyed ? { manuscript: this.#surveyed } : writer);
    else this.#reading?.close();
    this.#panel?.forget(text);
    $("#survey-read").hidden = text === "" || isSurveyed;
    return isOn;
  }

  /** Has the model say how sure it is of every word on the sheet, whoever wrote it. */
  async #readAll() {
    const { writer, model, service, attempt, drop, draw } = this.#parts;
    drop();
    const { SurveyPanel } = await import("./survey/panel.js");
    this.#panel ??= new SurveyPanel($("#survey"), {
      options: () => ({ service, context: model().context, ranked: model().ranked }),
      models: () => service.models(),
      goTo: (position) => this.#reading.goTo(position),
      attempt,
      show: (text, tokens) => {
        this.#surveyed = new Manuscript(text, tokens.filter(({ logprob }) => logprob !== null));
        draw();
      },
    });
    await this.#panel.read(writer.manuscript.text);
  }
}
