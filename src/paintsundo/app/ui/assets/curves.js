// How far the picture is at each frame: progress, edges and colour, beneath the film and in step with it.

import { h, svg, tell } from "./dom.js";

const LINES = [
  ["progress", "Progress"],
  ["edges", "Edges"],
  ["colour", "Colour"],
];
const WIDTH = 1000;
const HEIGHT = 100;

/** `seek(frame)` is called where one clicks. */
export function curves({ id, seek }) {
  const paths = Object.fromEntries(
    LINES.map(([name]) => [name, svg("path", { class: `curve ${name}`, "vector-effect": "non-scaling-stroke" })]),
  );
  const cursor = svg("line", { class: "cursor", y1: 0, y2: HEIGHT, "vector-effect": "non-scaling-stroke" });
  const grid = [0, 0.5, 1].map((level) =>
    svg("line", {
      class: "grid",
      x1: 0,
      x2: WIDTH,
      y1: yOf(level),
      y2: yOf(level),
      "vector-effect": "non-scaling-stroke",
    }),
  );
  const picture = svg(
    "svg",
    {
      viewBox: `0 -4 ${WIDTH} ${HEIGHT + 8}`,
      preserveAspectRatio: "none",
      class: "curve-picture",
      role: "img",
      "aria-label": "Progress, edges and colour over the film",
    },
    ...grid,
    ...Object.values(paths),
    cursor,
  );
  const values = Object.fromEntries(LINES.map(([name]) => [name, h("b")]));
  const legend = h(
    "ul.legend",
    {},
    LINES.map(([name, label]) => h(`li.${name}`, {}, h("i"), `${label} `, values[name])),
  );
  let data = null;
  const last = () => Math.max(1, (data?.progress?.length ?? 1) - 1);
  const xOf = (frame) => (WIDTH * frame) / last();

  picture.addEventListener("click", (event) => {
    const box = picture.getBoundingClientRect();
    seek(Math.round(((event.clientX - box.left) / box.width) * last()));
  });

  return {
    element: h("div.curves", { id }, picture, legend),
    update(next) {
      if (next === data) return;
      data = next;
      for (const [name] of LINES) paths[name].setAttribute("d", path(next?.[name] ?? [], xOf));
    },
    look(frame) {
      const x = xOf(Math.min(frame, last()));
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
      for (const [name] of LINES) {
        const value = data?.[name]?.[frame];
        tell(values[name], Number.isFinite(value) ? `${Math.round(100 * value)} %` : "");
      }
    },
  };
}

const yOf = (value) => HEIGHT * (1 - Math.min(1, Math.max(0, value)));

// A value that could not be measured is a gap in the line.
function path(values, xOf) {
  let pen = "M";
  const parts = [];
  values.forEach((value, index) => {
    if (!Number.isFinite(value)) {
      pen = "M";
      return;
    }
    parts.push(`${pen}${xOf(index).toFixed(1)} ${yOf(value).toFixed(1)}`);
    pen = "L";
  });
  return parts.join("");
}
