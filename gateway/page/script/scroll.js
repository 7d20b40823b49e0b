/** Keeps what is being written in view. */

const NEAR_PX = 220;
const MARGIN_PX = 16;

/**
 * @param end the element whose bottom is to be seen
 * @param dock lies over the bottom of the page
 * @param always also when the person has scrolled away to read
 */
export function keepInView(end, dock, always) {
  const boxes = end.getClientRects();
  if (boxes.length === 0) return;
  const limit = dock.getBoundingClientRect().top - MARGIN_PX;
  const hidden = boxes[boxes.length - 1].bottom - limit;
  if (hidden > 0 && (always || hidden < NEAR_PX)) window.scrollBy({ top: hidden });
}

/**
 * Lifts the dock above a keyboard that lies over the page instead of shrinking it, and tells the
 * style sheet how much of the window's bottom that leaves for nothing else.
 */
export function placeDock(dock) {
  const view = window.visualViewport;
  const place = () => {
    const isZoomed = view.scale > 1;
    const covered = isZoomed ? 0 : Math.max(0, innerHeight - view.height - view.offsetTop);
    dock.style.setProperty("bottom", `${covered}px`);
    const taken = covered + dock.offsetHeight + MARGIN_PX;
    document.documentElement.style.setProperty("--dock", `${taken}px`);
  };
  view.addEventListener("resize", place);
  view.addEventListener("scroll", place);
  new ResizeObserver(place).observe(dock);
}

/** @returns {number} down to where the window is free */
export function freeHeight() {
  const { scrollPaddingBottom } = getComputedStyle(document.documentElement);
  return innerHeight - Number.parseFloat(scrollPaddingBottom);
}
