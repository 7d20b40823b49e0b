/** Hands a file to the person. */

const KEPT_MS = 60_000;

/** @param file `{name, type, content}` */
export function saveFile({ name, type, content }) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), KEPT_MS);
}
