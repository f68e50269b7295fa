// Building the page. Text only ever becomes text nodes and attributes: nothing here parses HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An element: h("button.primary", { onclick, "aria-label": "…" }, "text", child, null). */
export function h(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  set(element, properties);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Properties on an element: listeners as on…, booleans as bare attributes, null takes away. */
export function set(element, properties) {
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") {
      if (element.value !== String(value ?? "")) element.value = value ?? "";
    } else if (name === "style") {
      for (const [property, setting] of Object.entries(value)) element.style.setProperty(property, setting);
    } else if (value === null || value === undefined || value === false) element.removeAttribute(name);
    else {
      const text = value === true ? "" : String(value);
      if (element.getAttribute(name) !== text) element.setAttribute(name, text);
    }
  }
  return element;
}

/** The same in SVG; `attributes` as they stand. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Set an element's text, touching the document only where it changes. */
export function tell(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Show or hide. */
export function show(element, visible) {
  if (element.hidden === visible) element.hidden = !visible;
}

/** Make a container hold exactly these children, moving rather than making anew, so that focus survives. */
export function arrange(container, children) {
  children.forEach((child, index) => {
    if (container.children[index] !== child) container.insertBefore(child, container.children[index] ?? null);
  });
  while (container.children.length > children.length) container.lastElementChild.remove();
}

/** Nodes by key: makes the missing, updates all, forgets the rest. */
export class Keyed {
  constructor(container, make) {
    this.container = container;
    this.make = make;
    this.nodes = new Map();
  }

  /** `items`: [[key, value], …] in order. */
  update(items) {
    const next = new Map();
    for (const [key, value] of items) {
      const node = this.nodes.get(key) ?? this.make(key);
      node.update(value);
      next.set(key, node);
    }
    this.nodes = next;
    arrange(
      this.container,
      [...next.values()].map((node) => node.element),
    );
  }
}

let counter = 0;

/** An id that no other element has. */
export const freshId = (prefix) => `${prefix}-${++counter}`;
