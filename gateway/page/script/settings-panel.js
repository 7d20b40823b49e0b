/** The settings beside the text; on narrow screens a sheet that opens over it. */

const WIDE = matchMedia("(min-width: 68rem)");

export class SettingsPanel {
  #panel;
  #opener;

  constructor(panel, opener, closer) {
    this.#panel = panel;
    this.#opener = opener;
    opener.addEventListener("click", () => this.#show(panel.hidden));
    closer.addEventListener("click", () => this.#leave());
    panel.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || WIDE.matches) return;
      event.preventDefault();
      this.#leave();
    });
    document.addEventListener("pointerdown", ({ target }) => {
      const outside = !panel.contains(target) && !opener.contains(target);
      if (outside && !WIDE.matches && !panel.hidden) this.#show(false);
    });
    WIDE.addEventListener("change", () => this.#show(WIDE.matches));
    this.#show(WIDE.matches);
  }

  open() {
    this.#show(true);
  }

  #show(open) {
    this.#panel.hidden = !open;
    this.#opener.setAttribute("aria-expanded", String(open));
    document.body.classList.toggle("has-settings", open);
    if (open && !WIDE.matches) this.#panel.querySelector("button").focus();
  }

  #leave() {
    this.#show(false);
    this.#opener.focus();
  }
}
