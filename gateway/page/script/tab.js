/** What is kept until the tab is closed; where storage is shut off, until the page is left. */

const held = new Map();

/** @returns {string | null} */
export function ofTab(name) {
  try {
    return sessionStorage.getItem(name);
  } catch {
    return held.get(name) ?? null;
  }
}

/** @param value null takes it away */
export function keepInTab(name, value) {
  try {
    if (value === null) sessionStorage.removeItem(name);
    else sessionStorage.setItem(name, value);
  } catch {
    held.set(name, value);
  }
}
