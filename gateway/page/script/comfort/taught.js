/** Whether somebody was here before, and needs no lesson. */

const PLACE = "taught";

/** @returns {boolean} true where nothing can be kept: nobody wants the same lesson each time */
export function isTaught() {
  try {
    return localStorage.getItem(PLACE) !== null;
  } catch {
    return true;
  }
}

export function keepTaught() {
  try {
    localStorage.setItem(PLACE, "1");
  } catch {
    // It is shown once more, next time.
  }
}
