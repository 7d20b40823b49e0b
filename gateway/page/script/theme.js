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
