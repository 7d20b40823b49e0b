/** The numbers of now, each with the last minutes as a small plot. */

import { make } from "../dom.js";
import { say } from "../language.js";

/** So many values are shown: five minutes, one each two seconds. */
const LENGTH = 150;
const HEIGHT = 36;
const SPACE = "http://www.w3.org/2000/svg";

const whole = (value) => value.toLocaleString(document.documentElement.lang, { maximumFractionDigits: 0 });
const KINDS = {
  running: { title: () => say("Sequences running"), show: whole },
  waiting: { title: () => say("Sequences waiting"), show: whole },
  rate: { title: () => say("Tokens per second"), show: whole },
  cache: { title: () => say("Cache in use"), show: (value) => `${Math.round(100 * value)} %`, most: 1 },
};

export class Gauges {
  #parts = new Map();

  constructor(frame) {
    for (const [name, { title }] of Object.entries(KINDS)) {
      const number = make("span.gauge-number", {}, "–");
      const picture = document.createElementNS(SPACE, "svg");
      const line = document.createElementNS(SPACE, "polyline");
      picture.setAttribute("viewBox", `0 -2 ${LENGTH - 1} ${HEIGHT + 4}`);
      picture.setAttribute("preserveAspectRatio", "none");
      picture.setAttribute("role", "img");
      picture.append(line);
      const most = make("span.gauge-most", {});
      frame.append(make("div.gauge", { dataset: { gauge: name } }, make("h2", {}, title()), number, picture, most));
      this.#parts.set(name, { number, picture, line, most, values: [] });
    }
  }

  /** @param values by name; undefined: not known now */
  add(values) {
    for (const [name, part] of this.#parts) {
      const value = values[name];
      part.values = [...part.values, value ?? null].slice(-LENGTH);
      part.number.textContent = value === undefined ? "–" : KINDS[name].show(value);
      this.#draw(name, part);
    }
  }

  #draw(name, { values, line, picture, most }) {
    const known = values.filter((value) => value !== null);
    const highest = Math.max(...known, 0);
    const scale = KINDS[name].most ?? Math.max(highest, 1);
    const points = values.flatMap((value, at) =>
      value === null ? [] : [`${LENGTH - values.length + at},${(HEIGHT * (1 - value / scale)).toFixed(1)}`],
    );
    line.setAttribute("points", points.join(" "));
    const shown = KINDS[name].show(highest);
    picture.setAttribute("aria-label", say("Highest of the last minutes: {n}", { n: shown }));
    most.textContent = say("highest {n}", { n: shown });
  }
}
