// Two runs next to each other: their films in step, and what was set differently.

import { api } from "./api.js";
import { h, show } from "./dom.js";
import { button } from "./fields.js";
import { isThere, layout, marks, operationSteps } from "./frames.js";
import { player } from "./player.js";

export function sideBySide(store, changed) {
  const room = h("div.two");
  const table = h("div.differences");
  const back = button({ kind: "quiet", text: "All runs", icon: "back", action: () => close() });
  const together = button({ text: "Play both", icon: "play", action: () => films.forEach((film) => film.play()) });
  const element = h(
    "div.side-by-side",
    { hidden: true },
    h("div.runs-head", {}, back.element, h("span.spring"), together.element),
    room,
    table,
  );
  let films = [];

  function close() {
    films.forEach((film) => film.pause());
    show(element, false);
    changed();
  }

  async function open(ids) {
    const runs = [];
    for (const id of ids) {
      const run = await store.act(async () => ({ answer: await api.open(id) }));
      if (!run) return;
      runs.push(run.answer);
    }
    films = runs.map((run, index) => film(run, index));
    room.replaceChildren(
      ...runs.map((run, index) =>
        h("article.one-of-two", {}, h("h2", {}, run.name || "A picture"), films[index].element),
      ),
    );
    const rows = differences(runs[0].settings, runs[1].settings);
    table.replaceChildren(
      rows.length
        ? h(
            "table",
            {},
            h(
              "thead",
              {},
              h(
                "tr",
                {},
                ["Setting", ...runs.map((run) => run.name)].map((text) => h("th", {}, text)),
              ),
            ),
            h(
              "tbody",
              {},
              rows.map((row) =>
                h(
                  "tr",
                  {},
                  row.map((text) => h("td", {}, text)),
                ),
              ),
            ),
          )
        : h("p.hint", {}, "Both were made with the same settings."),
    );
    show(element, true);
    changed();
  }
  return { element, open, close, visible: () => !element.hidden };
}

function film(run, index) {
  const plan = layout(run.status);
  const made = player({ id: `pu-two-${index}` });
  made.update({
    key: run.id,
    fps: run.settings.fps,
    total: plan.total,
    available: (frame) => isThere(plan.pieces, frame),
    url: (frame) => api.frameUrl(run.id, frame, `two-${run.status.revision}`),
    steps: operationSteps(plan.places, plan.total),
    pieces: plan.pieces,
    places: marks(plan.places),
  });
  return made;
}

// What is left open follows something else.
const OPEN = { width: "as the picture", height: "as the picture", buckets: "as the keyframes", prompt: "as it was read" };

/** Rows [name, value of one, value of the other] of what differs. */
export function differences(one, other) {
  const said = (name, value) =>
    value === null || value === undefined || value === ""
      ? ((value === null && OPEN[name]) || "none")
      : Array.isArray(value) && !Array.isArray(value[0])
        ? value.join(", ")
        : typeof value === "object"
          ? JSON.stringify(value)
          : String(value);
  return Object.keys({ ...one, ...other })
    .filter((name) => JSON.stringify(one[name]) !== JSON.stringify(other[name]))
    .map((name) => [name.replaceAll("_", " "), said(name, one[name]), said(name, other[name])]);
}
