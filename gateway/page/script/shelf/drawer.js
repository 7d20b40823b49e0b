/** A sheet at the side that opens over the page and closes again. */

import { iconButton, make } from "../dom.js";
import { say } from "../language.js";

export class Drawer {
  #panel;
  #opener;

  /** @param name of the panel's class and id; `children` are what is in it */
  constructor(name, title, opener, children) {
    this.#opener = opener;
    const heading = make("h2", { id: `${name}-title` }, title);
    const closer = iconButton("close", say("Close"), () => this.close(), { dataset: { close: "" } });
    this.#panel = make(
      "aside.drawer",
      { id: name, "aria-labelledby": heading.id, hidden: true },
      make("div.drawer-head", {}, heading, closer),
      ...children,
    );
    document.body.append(this.#panel);
    this.#panel.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.defaultPrevented) return;
      event.preventDefault();
      this.close();
    });
    document.addEventListener("pointerdown", ({ target }) => {
      const outside = !this.#panel.contains(target) && !opener.contains(target);
      if (this.isOpen && outside && target.isConnected) this.#hide();
    });
  }

  get isOpen() {
    return !this.#panel.hidden;
  }

  open() {
    if (this.isOpen) return this.close();
    this.#panel.hidden = false;
    this.#opener.setAttribute("aria-expanded", "true");
    this.#panel.querySelector("[data-close]").focus();
  }

  close() {
    this.#hide();
    this.#opener.focus();
  }

  #hide() {
    this.#panel.hidden = true;
    this.#opener.setAttribute("aria-expanded", "false");
  }
}
