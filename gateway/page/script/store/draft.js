/** What this tab was writing, where a reload finds it at once: nothing waits for the database. */

const PLACE = "draft";

/** @returns {{id, revision, writer, text, place, settings} | null} */
export function readDraft() {
  try {
    const draft = JSON.parse(sessionStorage.getItem(PLACE));
    return typeof draft?.text === "string" ? draft : null;
  } catch {
    return null; // Storage is shut off, or holds something else.
  }
}

export function keepDraft(draft) {
  try {
    sessionStorage.setItem(PLACE, JSON.stringify(draft));
  } catch {
    // Longer than the tab may keep, or storage is shut off: the database has it.
  }
}
