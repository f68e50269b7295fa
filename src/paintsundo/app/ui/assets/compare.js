// Before and after: two states over one another, divided by a line that one drags.

import { freshId, h, set, tell } from "./dom.js";
import { select } from "./fields.js";

/**
 * `update(states, shape)`: [[key, label, url], …] from blank to finished, and the [width, height] to which all are
 * cropped, as the film crops them. Which two are compared is chosen here.
 */
export function compare({ id }) {
  const before = h("img.before", { alt: "", draggable: "false" });
  const after = h("img.after", { alt: "", draggable: "false" });
  const range = h("input.divider", {
    id: freshId("divider"),
    type: "range",
    min: 0,
    max: 100,
    value: 50,
    "aria-label": "Where before ends and after begins",
  });
  const left = h("span.tag.left");
  const right = h("span.tag.right");
  const sheet = h(
    "div.compare-sheet",
    {},
    h("div.side", {}, after),
    h("div.side.cut", {}, before),
    h("div.divide", { "aria-hidden": "true" }),
    left,
    right,
    range,
  );
  const divide = () => sheet.style.setProperty("--divide", `${range.value}%`);
  range.addEventListener("input", divide);
  divide();

  let states = [];
  let shape = [1, 1];
  const fit = () => {
    const factor = Math.min(sheet.clientWidth / shape[0], sheet.clientHeight / shape[1]);
    set(sheet, { style: { "--wide": `${shape[0] * factor}px`, "--high": `${shape[1] * factor}px` } });
  };
  new ResizeObserver(fit).observe(sheet);
  const chosen = { before: null, after: null };
  const pick = (side) => (key) => {
    chosen[side] = key;
    draw();
  };
  const first = select({ label: "Before", change: pick("before") });
  const second = select({ label: "After", change: pick("after") });

  function draw() {
    const find = (side, fallback) => {
      // Keys of a chosen state vanish when it is made anew: then the one in its place is shown.
      const found = states.find(([key]) => key === chosen[side]) ?? states.at(fallback);
      return found ?? [null, "", null];
    };
    const [beforeKey, beforeLabel, beforeUrl] = find("before", Math.floor((states.length - 1) / 2));
    const [afterKey, afterLabel, afterUrl] = find("after", -1);
    const choices = states.map(([key, label]) => [key, label]);
    first.update(beforeKey, choices);
    second.update(afterKey, choices);
    set(before, { src: beforeUrl, alt: beforeLabel });
    set(after, { src: afterUrl, alt: afterLabel });
    tell(left, beforeLabel);
    tell(right, afterLabel);
  }

  return {
    element: h("div.compare", { id }, sheet, h("div.pair.compare-choice", {}, first.element, second.element)),
    /** Choose what is shown on a side. */
    choose(side, key) {
      chosen[side] = key;
      draw();
    },
    update(next, common) {
      states = next;
      shape = common;
      fit();
      draw();
    },
  };
}
