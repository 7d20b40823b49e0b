/** Says which model is loaded, and shows examples that fit it. */

import { say } from "./language.js";
import { count } from "./words.js";

const EXAMPLES = 5;

export function showFacts(facts, line, footer) {
  const name = facts.checkpoint ?? facts.id;
  const size = document.createElement("span");
  size.className = "model-size";
  size.textContent = ` · ${say("{n} parameters", { n: count(facts.parameters) })}`;
  line.replaceChildren(name, size);
  const parts = [
    say("{name}, version {version}", { name, version: facts.version }),
    `${say("{n} parameters", { n: count(facts.parameters) })}, ${facts.precision}`,
    say("reads {n} tokens at once", { n: facts.context_length }),
  ];
  footer.replaceChildren(
    ...parts.map((part) => {
      const paragraph = document.createElement("p");
      paragraph.textContent = part;
      return paragraph;
    }),
  );
}

export function showExamples(examples, section, onPick) {
  section.hidden = examples.length === 0;
  section.querySelector("ul").replaceChildren(
    ...examples.slice(0, EXAMPLES).map((text) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = text;
      button.addEventListener("click", () => onPick(text));
      item.append(button);
      return item;
    }),
  );
}
