/** The access key: asked for once, kept for this tab's session only. */

import { keepInTab, ofTab } from "./tab.js";

const PLACE = "access-key";

export class AccessKey {
  #dialog;
  #asking = null;

  constructor(dialog) {
    this.#dialog = dialog;
    const form = dialog.querySelector("form");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      dialog.close(form.elements.key.value.trim());
    });
    dialog.querySelector("[data-cancel]").addEventListener("click", () => dialog.close(""));
    dialog.addEventListener("cancel", () => {
      dialog.returnValue = "";
    });
  }

  get value() {
    return ofTab(PLACE);
  }

  /** @returns {Promise<boolean>} whether the person gave a key */
  ask() {
    this.#asking ??= this.#open().finally(() => {
      this.#asking = null;
    });
    return this.#asking;
  }

  async #open() {
    const wrong = this.value !== null;
    keepInTab(PLACE, null);
    const { key } = this.#dialog.querySelector("form").elements;
    key.value = "";
    key.setAttribute("aria-invalid", String(wrong));
    this.#dialog.querySelector("[data-wrong]").hidden = !wrong;
    this.#dialog.returnValue = "";
    this.#dialog.showModal();
    await new Promise((resolve) => {
      this.#dialog.addEventListener("close", resolve, { once: true });
    });
    if (this.#dialog.returnValue) keepInTab(PLACE, this.#dialog.returnValue);
    return this.#dialog.returnValue !== "";
  }
}
