/** A text as another one with a stretch replaced: what a branch keeps of its parent. */

/** @returns {{keep, added, tail}} `to` is `from` up to `keep`, `added`, and its last `tail` */
export function splice(from, to) {
  const shorter = Math.min(from.length, to.length);
  let keep = 0;
  while (keep < shorter && from.charCodeAt(keep) === to.charCodeAt(keep)) keep += 1;
  let tail = 0;
  const most = shorter - keep;
  while (
    tail < most &&
    from.charCodeAt(from.length - 1 - tail) === to.charCodeAt(to.length - 1 - tail)
  ) {
    tail += 1;
  }
  return { keep, added: to.slice(keep, to.length - tail), tail };
}

/** @returns {string} the text that `splice` was made for */
export function join(from, { keep, added, tail }) {
  return from.slice(0, keep) + added + (tail ? from.slice(from.length - tail) : "");
}
