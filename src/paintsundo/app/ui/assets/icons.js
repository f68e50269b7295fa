// Line icons on a 24 grid, drawn for this page.

import { svg } from "./dom.js";

const PATHS = {
  add: "M12 5v14M5 12h14",
  again: "M20 12a8 8 0 1 1-2.6-5.9M20 4v4.5h-4.5",
  back: "M15 5l-7 7 7 7",
  compare: "M12 3v18M4 6h5M4 12h5M4 18h5M15 6h5v12h-5",
  cross: "M6 6l12 12M18 6L6 18",
  dice: "M6 3.5h12a2.5 2.5 0 0 1 2.5 2.5v12a2.5 2.5 0 0 1-2.5 2.5H6A2.5 2.5 0 0 1 3.5 18V6A2.5 2.5 0 0 1 6 3.5zM8.5 8.4v.2M15.5 15.4v.2M15.5 8.4v.2M8.5 15.4v.2M12 11.9v.2",
  download: "M12 4v11M7 11l5 5 5-5M5 20h14",
  earlier: "M14 7l-5 5 5 5",
  forward: "M9 5l7 7-7 7",
  later: "M10 7l5 5-5 5",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z",
  pause: "M8 5v14M16 5v14",
  picture: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.5 9h.01",
  pencil: "M4 20l1-4L16.5 4.5l3 3L8 19zM14 7l3 3",
  pin: "M9 4h6l-1 6 3 3H7l3-3zM12 13v7",
  play: "M7 4.5v15l12-7.5z",
  replace: "M12 16V5M7 9l5-5 5 5M5 20h14",
  reverse: "M17 4.5v15L5 12z",
  runs: "M4 5h7v6H4zM13 5h7v6h-7zM4 13h7v6H4zM13 13h7v6h-7z",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v3M12 19v3M2 12h3M19 12h3M5 5l2 2M17 17l2 2M19 5l-2 2M7 17l-2 2",
  trash: "M5 7h14M10 4h4M7 7l1 13h8l1-13",
  words: "M5 6h14M5 12h14M5 18h8",
};

/** A decorative icon, the size of the text around it. */
export function icon(name) {
  const path = svg("path", { d: PATHS[name] });
  return svg("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true", focusable: "false" }, path);
}

/** The mark: a stroke that turns back on itself. */
export function mark() {
  const stroke = svg("path", { d: "M27 22c-3 5-9 6-13 3-5-4-3-12 4-13h9m-5-5 6 5-6 5", class: "mark-stroke" });
  return svg("svg", { viewBox: "0 0 40 36", class: "mark", "aria-hidden": "true", focusable: "false" }, stroke);
}
