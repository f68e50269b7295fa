// All runs of this visitor: opened, kept, repeated, compared, deleted.

import { api } from "./api.js";
import { h, Keyed, set, show, tell } from "./dom.js";
import { button, iconButton } from "./fields.js";
import { sideBySide } from "./side_by_side.js";
import { chooseFile } from "./uploads.js";

const STAGES = {
  draft: "Begun",
  queued: "Waiting",
  keyframes: "Drawing",
  film: "Filming",
  done: "Finished",
  cancelled: "Stopped",
  failed: "Did not work",
  interrupted: "Interrupted",
};

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

function runCard(store, id, chosen, changed) {
  let run = null;
  const image = h("img", { alt: "", loading: "lazy", draggable: "false" });
  const title = h("span.run-title");
  const note = h("span.run-note");
  const badge = h("span.badge");
  const face = h(
    "button.run-face",
    { type: "button", onclick: () => openRun(store, run) },
    h("span.run-picture", {}, image, badge),
    title,
    note,
  );
  const check = h("input", { type: "checkbox", "aria-label": "Choose to compare" });
  check.addEventListener("change", () => {
    // The third takes the place of the first.
    if (check.checked) chosen.add(id);
    else chosen.delete(id);
    if (chosen.size > 2) chosen.delete([...chosen][0]);
    changed();
  });
  const again = async () => {
    const record = await store.act(() => api.record(id));
    if (record && (await store.act(() => api.repeat(record)))) store.go("picture");
  };
  const keep = iconButton("pin", "Keep for good", async () => {
    await store.act(async () => void (await api.keep(id, !run.kept)));
    await store.list();
  });
  const repeat = iconButton("again", "Repeat with the same settings", again);
  const remove = iconButton("trash", "Delete", async () => {
    if (!confirm(`Delete “${run.name}” and all its files for good?`)) return;
    await store.act(() => api.delete(id));
    if (store.run?.id === id) store.close();
    await store.list();
  });
  const element = h(
    "li.run",
    { "data-run": id },
    face,
    h(
      "div.run-actions",
      {},
      h("label.check", { title: "Choose to compare" }, check),
      h("span.spring"),
      keep,
      repeat,
      remove,
    ),
  );
  return {
    element,
    update(next) {
      run = next;
      set(image, { src: next.thumbnail });
      tell(title, next.name || "A picture");
      tell(
        note,
        [
          when(next.created),
          next.frames ? `${next.frames} frames` : next.keyframes ? `${next.keyframes} keyframes` : null,
        ]
          .filter(Boolean)
          .join(", "),
      );
      tell(badge, STAGES[next.stage] ?? next.stage);
      set(badge, { "data-stage": next.stage });
      set(face, { "aria-label": `Open ${next.name || "a picture"}, ${STAGES[next.stage] ?? next.stage}` });
      set(keep, { "aria-pressed": String(next.kept), title: next.kept ? "Kept for good" : "Keep for good" });
      show(repeat, next.stage === "done" && next.frames > 0);
      check.checked = chosen.has(id);
    },
  };
}

async function openRun(store, run) {
  if (!(await store.open(run.id))) return;
  const { status } = store;
  store.go(
    status.has_film || status.stage === "film" || status.frames
      ? "film"
      : status.keyframes.length || store.busy
        ? "keyframes"
        : "picture",
  );
}

function when(seconds) {
  const date = new Date(1000 * seconds);
  const today = new Date().toDateString() === date.toDateString();
  return today
    ? `today ${date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" })}`
    : date.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
}
