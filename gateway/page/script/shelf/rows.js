/** A text as a row of the shelf. */

import { iconButton, make } from "../dom.js";
import { number, say } from "../language.js";
import { titleOf } from "../store/keeper.js";

const DAY_MS = 86_400_000;

/** @returns {string} when, as people say it */
export function when(time, now = Date.now()) {
  const midnight = (value) => new Date(value).setHours(0, 0, 0, 0);
  const days = Math.round((midnight(now) - midnight(time)) / DAY_MS);
  const { lang } = document.documentElement;
  if (days === 0) {
    return new Date(time).toLocaleTimeString(lang, { hour: "2-digit", minute: "2-digit" });
  }
  if (days < 7) return new Intl.RelativeTimeFormat(lang, { numeric: "auto" }).format(-days, "day");
  return new Date(time).toLocaleDateString(lang);
}

/** @param acts `open(card)`, and `more`: `{what, label, act(card, item)}` for a row's buttons */
export function cardOf(card, acts, { here, open }) {
  const name = titleOf(card) || say("Without a title");
  const words = say("{n} words", { n: number(card.words) });
  const about = `${words} · ${when(card.changed)}`;
  const actions = make(
    "div.shelf-actions",
    { hidden: !open },
    ...acts.more.map(({ what, label, act }) =>
      make("button", { dataset: { what }, click: () => act(card, item) }, label),
    ),
  );
  const more = iconButton("more", say("More for “{name}”", { name }), () => toggle(item), {
    "aria-expanded": String(open),
    dataset: { what: "more" },
  });
  const main = make(
    "button.shelf-open",
    { dataset: { what: "open" }, click: () => acts.open(card), "aria-current": here && "true" },
    make("span.shelf-title", { dir: "auto" }, name),
    make("span.shelf-about", {}, about),
  );
  const item = make("li.shelf-item", { dataset: { text: card.id } }, main, more, actions);
  item.classList.toggle("is-open", open);
  return item;
}

function toggle(item) {
  const isOpen = !item.classList.contains("is-open");
  for (const other of item.parentElement.querySelectorAll(".shelf-item")) {
    const opens = other === item && isOpen;
    other.classList.toggle("is-open", opens);
    other.querySelector(".shelf-actions").hidden = !opens;
    other.querySelector("[data-what=more]").setAttribute("aria-expanded", String(opens));
  }
}
