/** Beside the shaded text: its curve, bits a character, what surprises most, and another text. */

import { make, needStyle } from "../dom.js";
import { decimal, say } from "../language.js";
import { curve, surprises, survey, weigh } from "./survey.js";

const STRETCHES = 80;
const HEIGHT = 40;

export class SurveyPanel {
  #parts;
  #frame;
  #result = make("div.survey-texts");
  #help = make("p.survey-help");
  #said = make("p.survey-said", { role: "status" });
  #mine = null;
  #other = null;
  /** What the service's own model is called. */
  #own = "";
  #reading = null;
  #models = make("p.survey-models");

  /**
   * @param parts `options()` for `survey`, `models()` (what the service has), `goTo(start)`,
   *   `show(text, tokens)`, `attempt(task)`
   */
  constructor(frame, parts) {
    this.#frame = frame;
    this.#parts = parts;
    const field = make("textarea", { rows: 3, "aria-label": say("Another text") });
    const form = make(
      "details.survey-other",
      {},
      make("summary", {}, say("Set another text beside it")),
      field,
      make("button", { click: () => this.#readOther(field.value) }, say("Read it")),
    );
    frame.append(this.#said, this.#result, this.#help, form, this.#models);
  }

  /** Offers the other models of the service to read the same text. */
  async #offerModels() {
    const [own, ...rest] = await this.#parts.models();
    this.#own = nameOf(own);
    // Models of other kinds are not known to read texts.
    const others = rest.filter(({ context_length: context }) => context);
    const choice = make("select", { "aria-label": say("Another model") });
    choice.append(...others.map(({ id, checkpoint }) => new Option(nameOf({ id, checkpoint }), id)));
    const read = () => this.#readWith(others.find(({ id }) => id === choice.value));
    this.#models.replaceChildren(
      ...(others.length ? [choice, make("button", { click: read }, say("Read it with this model"))] : []),
    );
  }

  async #readWith({ id, checkpoint, context_length: context }) {
    const { text } = this.#mine;
    const { service, ...options } = this.#parts.options();
    const tokens = await this.#survey(text, { ...options, service: service.of(id), context });
    if (!tokens) return;
    this.#other = { text, tokens, model: nameOf({ id, checkpoint }) };
    this.#draw();
  }

  /** Reads the text that is on the sheet. */
  async read(text) {
    await needStyle("survey");
    this.#frame.hidden = false;
    const tokens = await this.#survey(text);
    if (!tokens) return;
    this.#mine = { text, tokens };
    this.#parts.show(text, tokens);
    this.#draw();
    await this.#parts.attempt(() => this.#offerModels());
  }

  /** What was read is of another text than the one on the sheet. */
  forget(text) {
    if (this.#mine && this.#mine.text !== text) {
      this.#mine = null;
      this.#result.replaceChildren();
      this.#frame.hidden = true;
    }
  }

  async #readOther(text) {
    if (!text.trim()) return;
    const tokens = await this.#survey(text);
    if (!tokens) return;
    this.#other = { text, tokens };
    this.#draw();
  }

  /** @returns {Promise<object[] | null>} null: it failed, or something else is read instead */
  async #survey(text, options = this.#parts.options()) {
    this.#reading?.abort();
    const run = (this.#reading = new AbortController());
    let tokens = null;
    const onProgress = (share) => {
      this.#said.textContent = say("Read: {n} %", { n: Math.round(share * 100) });
    };
    this.#said.textContent = say("Reading.");
    await this.#parts.attempt(async () => {
      tokens = await survey(text, { ...options, signal: run.signal, onProgress });
    });
    this.#said.textContent = "";
    return run.signal.aborted ? null : tokens;
  }

  #draw() {
    const other = this.#other;
    // Beside another model's reading it is the models that differ, not the texts.
    const parts = [this.#column(this.#mine, other?.model ? this.#own : say("This text"), true)];
    if (other) parts.push(this.#column(other, other.model ?? say("The other text"), false));
    this.#result.replaceChildren(...parts);
    this.#help.textContent = say("The fewer bits, the more the model expected it.");
  }

  #column({ text, tokens }, title, isMine) {
    const { perCharacter } = weigh(tokens);
    const bits = decimal(perCharacter, 2);
    const passages = surprises(tokens).map(({ start, end, bits: own }) => {
      const words = wholeWords(text, start, end);
      const about = make("span.survey-bits", {}, decimal(own, 1));
      const passage = make("span.survey-words", { dir: "auto" }, words);
      if (!isMine) return make("li", {}, make("p", {}, passage, " ", about));
      const act = { click: () => this.#parts.goTo(start) };
      return make("li", {}, make("button", act, passage, " ", about));
    });
    return make(
      "section",
      { "aria-label": title },
      make("h2", {}, title),
      make("p.survey-weight", {}, say("{bits} bits per character", { bits })),
      sparkline(curve(tokens, STRETCHES), say("Surprise along the text, from its start to its end")),
      make("h3", {}, say("Most surprising, in bits per character")),
      make("ol.survey-passages", {}, ...passages),
    );
  }
}

/** A model by the name it is asked by, and what it was made from where that is called otherwise. */
function nameOf({ id, checkpoint }) {
  return checkpoint && checkpoint !== id ? `${id} (${checkpoint})` : id;
}

/** A passage of tokens as whole words. */
function wholeWords(text, start, end) {
  const from = text.slice(0, start).search(/[\p{L}\p{N}]*$/u);
  const [rest] = text.slice(end).match(/^[\p{L}\p{N}]*/u);
  return text.slice(from, end + rest.length).trim();
}

function sparkline(values, label) {
  const space = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(space, "svg");
  const most = Math.max(...values, 0.01);
  const points = values.map((value, at) => `${at},${(HEIGHT * (1 - value / most)).toFixed(1)}`);
  picture.setAttribute("viewBox", `0 -2 ${values.length - 1} ${HEIGHT + 4}`);
  picture.setAttribute("preserveAspectRatio", "none");
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", label);
  picture.classList.add("survey-curve");
  const line = document.createElementNS(space, "polyline");
  line.setAttribute("points", points.join(" "));
  picture.append(line);
  return picture;
}
