/** The button that changes between light and dark; `theme.js` chooses before anything is drawn. */

import { say } from "./language.js";

const { dataset } = document.documentElement;
const button = document.querySelector("#theme");

function name() {
  const label = dataset.theme === "dark" ? say("Light theme") : say("Dark theme");
  button.setAttribute("aria-label", label);
  button.title = label;
}

name();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTimeout(name));
button.addEventListener("click", () => {
  dataset.theme = dataset.theme === "dark" ? "light" : "dark";
  try {
    localStorage.setItem("theme", dataset.theme);
  } catch {
    // Storage is shut off: it is so until the page is closed.
  }
  name();
});
