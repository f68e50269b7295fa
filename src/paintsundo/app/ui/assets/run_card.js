// One run in the list: its picture, name and state, and what can be done with it.

import { api } from "./api.js";
import { h, set, show, tell } from "./dom.js";
import { iconButton } from "./fields.js";

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

/** A run among others; `chosen`: ids of those to compare. */
export function runCard(store, id, chosen, changed) {
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
  const naming = nameField(store, id, () => rename.focus());
  const rename = iconButton("pencil", "Call it something else", () => naming.open(run.name));
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
    naming.element,
    h(
      "div.run-actions",
      {},
      h("label.check", { title: "Choose to compare" }, check),
      h("span.spring"),
      rename,
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

// Where a run's name is typed: Enter or leaving takes it, Escape leaves it as it was.
function nameField(store, id, left) {
  const input = h("input.run-name", {
    type: "text",
    hidden: true,
    maxlength: 200,
    "aria-label": "Name of the run",
    autocomplete: "off",
    spellcheck: "false",
  });
  let before = "";
  const close = async (take) => {
    if (input.hidden) return;
    const name = input.value.trim();
    show(input, false);
    if (!take || name === before) return;
    const renamed = await store.act(async () => ({ answer: await api.rename(id, name) }));
    if (renamed && store.run?.id === id) store.run = { ...store.run, name: renamed.answer.name };
    await store.list();
  };
  input.addEventListener("blur", () => close(true));
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== "Escape") return;
    event.preventDefault(); // else Enter would press the button that is given the keyboard
    close(event.key === "Enter");
    left();
  });
  return {
    element: input,
    open(name) {
      before = name;
      input.value = name;
      show(input, true);
      input.focus();
      input.select();
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
