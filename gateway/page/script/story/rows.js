/** A story's tree as rows of a list: a chain of branches stays at one depth, a fork goes deeper. */

/**
 * @returns {{branch, depth, isFork}[]} parents before their children; the first way on follows its
 *   parent at the same depth, after all others, which are indented
 */
export function rowsOf(story) {
  const rows = [];
  const open = story.children(null).map((branch, at) => ({ branch, depth: at ? 1 : 0 })).reverse();
  while (open.length) {
    const row = open.pop();
    const children = story.children(row.branch.id);
    rows.push({ ...row, isFork: children.length > 1 });
    // What was taken goes on below; what else there was stands before it, indented.
    const main = children.findLast(({ state }) => state === "taken") ?? children.at(-1);
    if (main) open.push({ branch: main, depth: row.depth });
    for (const child of children.toReversed()) {
      if (child !== main) open.push({ branch: child, depth: row.depth + 1 });
    }
  }
  return rows;
}
