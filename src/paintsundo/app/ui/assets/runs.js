// All runs of this visitor: opened, called something else, kept, repeated, compared, deleted.

import { api } from "./api.js";
import { h, Keyed, show } from "./dom.js";
import { button } from "./fields.js";
import { runCard } from "./run_card.js";
import { sideBySide } from "./side_by_side.js";
import { chooseFile } from "./uploads.js";

export function runsView(store) {
  const chosen = new Set();
  const cards = h("ul.run-cards", { id: "pu-runs", "aria-label": "Your runs" });
  const empty = h("p.stage-words", {}, "Nothing yet. Every film you begin is kept here, with its settings.");
  const fresh = button({
    kind: "primary",
    text: "Begin a new one",
    icon: "add",
    action: () => (store.close(), store.go("picture")),
  });
  const repeat = button({
    id: "pu-repeat",
    text: "Repeat from run.json",
    icon: "again",
    action: () => repeatFile(store),
  });
  const both = button({
    id: "pu-compare-runs",
    text: "Compare the two",
    icon: "compare",
    action: () => comparison.open([...chosen]),
  });
  const comparison = sideBySide(store, () => update());
  const list = h(
    "div.runs-room",
    {},
    h("div.runs-head", {}, h("h2", {}, "Your runs"), h("span.spring"), both.element, repeat.element, fresh.element),
    empty,
    cards,
  );
  const stage = h("section.stage.runs", { "aria-label": "Runs" }, list, comparison.element);
  const keyed = new Keyed(cards, (id) => runCard(store, id, chosen, () => update()));

  function update() {
    const known = new Set(store.runs.map((run) => run.id));
    for (const id of chosen) if (!known.has(id)) chosen.delete(id);
    show(list, !comparison.visible());
    show(empty, store.runs.length === 0);
    keyed.update(store.runs.map((run) => [run.id, run]));
    both.update({
      visible: chosen.size > 0,
      disabled: chosen.size !== 2,
      text: chosen.size === 2 ? "Compare the two" : "Choose one more to compare",
    });
  }
  return { stage, panel: null, update, leave: () => comparison.close() };
}

async function repeatFile(store) {
  const file = await chooseFile("application/json,.json");
  if (!file) return;
  let record;
  try {
    record = JSON.parse(await file.text());
  } catch {
    store.fail(new Error(`${file.name} is not a run.json: it cannot be read.`));
    return;
  }
  if (await store.act(() => api.repeat(record))) store.go("picture");
}
