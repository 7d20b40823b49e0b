/* Runs before the page is drawn, so that it never flashes in the other theme. */
"use strict";

const root = document.documentElement;
const darkSystem = matchMedia("(prefers-color-scheme: dark)");

function storedTheme() {
  try {
    return localStorage.getItem("theme");
  } catch {
    return null; // Storage is shut off: the system's theme it is.
  }
}

function showTheme() {
  root.dataset.theme = storedTheme() ?? (darkSystem.matches ? "dark" : "light");
}

showTheme();
darkSystem.addEventListener("change", showTheme);

document.addEventListener("DOMContentLoaded", () => {
  const button = document.querySelector("#theme");
  const name = () => {
    const label = root.dataset.theme === "dark" ? "Light theme" : "Dark theme";
    button.setAttribute("aria-label", label);
    button.title = label;
  };
  name();
  darkSystem.addEventListener("change", name);
  button.addEventListener("click", () => {
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
    name();
  });
});
