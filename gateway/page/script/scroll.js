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

/** Lifts the dock above a keyboard that lies over the page instead of shrinking it. */
export function keepAboveKeyboard(dock) {
  const view = window.visualViewport;
  const lift = () => {
    const isZoomed = view.scale > 1;
    const covered = isZoomed ? 0 : Math.max(0, innerHeight - view.height - view.offsetTop);
    dock.style.setProperty("bottom", `${covered}px`);
  };
  view.addEventListener("resize", lift);
  view.addEventListener("scroll", lift);
}
