/** Makes elements, for parts of the page that are loaded when they are asked for. */

/**
 * @param tag a name, with classes behind dots: `button.primary`
 * @param attributes of the element; functions listen to the event of their name, `dataset` is set
 *   as a whole, false and null leave an attribute out
 * @param children elements and texts
 */
export function make(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  element.className = classes.join(" ");
  if (name === "button") element.type = "button";
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (key === "dataset") Object.assign(element.dataset, value);
    else if (value !== false && value !== null) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** An icon of `icons.svg`. */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(space, "svg");
  picture.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(space, "use");
  use.setAttribute("href", `page/icons.svg#${name}`);
  picture.append(use);
  return picture;
}

/** A button that shows an icon alone. */
export function iconButton(name, label, act, attributes = {}) {
  const own = { "aria-label": label, title: label, click: act, ...attributes };
  return make("button.icon-button", own, icon(name));
}

/** Adds a style sheet of the page, once; resolves when it counts. */
export function needStyle(name) {
  const address = `page/style/${name}.css`;
  const known = document.querySelector(`link[href="${address}"]`);
  if (known) return known.ready ?? Promise.resolve();
  const link = make("link", { rel: "stylesheet", href: address });
  link.ready = new Promise((resolve) => {
    link.addEventListener("load", resolve, { once: true });
    link.addEventListener("error", resolve, { once: true });
  });
  document.head.append(link);
  return link.ready;
}
