/** Says which model is loaded, and shows examples that fit it. */

import { count } from "./words.js";

const EXAMPLES = 5;

export function showFacts(facts, line, footer) {
  const name = facts.checkpoint ?? facts.id;
  const size = document.createElement("span");
  size.className = "model-size";
  size.textContent = ` · ${count(facts.parameters)} parameters`;
  line.replaceChildren(name, size);
  const parts = [
    `${name}, version ${facts.version}`,
    `${count(facts.parameters)} parameters, ${facts.precision}`,
    `reads ${facts.context_length} tokens at once`,
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
