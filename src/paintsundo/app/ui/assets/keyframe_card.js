// One keyframe: redrawn with another seed, replaced by a picture of one's own, moved, taken out.

import { api } from "./api.js";
import { h, set, show, tell } from "./dom.js";
import { button, iconButton, randomSeed, seed } from "./fields.js";
import { nameOf } from "./steps.js";
import { chooseFile } from "./uploads.js";

/** What there is to see of a keyframe; the finished one is the run's picture, also before it is fitted. */
export const pictureOf = (keyframe, run) =>
  keyframe.url ?? keyframe.preview_url ?? (keyframe.origin === "picture" ? run.picture.url : null);

const actions = {
  redraw: (store, index, seedValue) => store.actOnRun((id) => api.redraw(id, index, seedValue)),
  async replace(store, index) {
    const file = await chooseFile("image/*");
    if (file) await store.actOnRun((id) => api.replace(id, index, file));
  },
  remove: (store, index) => store.actOnRun((id) => api.remove(id, index)),
  move: (store, index, to) => store.actOnRun((id) => api.move(id, index, to)),
};

// Which of them make sense: the finished picture and the blank canvas are the film's ends.
const can = (keyframe) => ({
  regenerate: !keyframe.busy && keyframe.operation_step !== null && keyframe.origin !== "picture",
  replace: !keyframe.busy && keyframe.done,
  remove: !keyframe.busy && keyframe.done && keyframe.last > 1,
  earlier: !keyframe.busy && keyframe.done && keyframe.index < keyframe.last,
  later: !keyframe.busy && keyframe.done && keyframe.index > 0,
});

/** A keyframe in the strip; `select` is called when it is chosen. */
export function card(store, select) {
  const image = h("img", { alt: "", draggable: "false", loading: "lazy" });
  const name = h("span.card-name");
  const note = h("span.card-note");
  const face = h(
    "button.card-face",
    { type: "button", onclick: select },
    h("span.card-picture", {}, image),
    name,
    note,
  );
  let keyframe = null;
  const act = (kind, iconName, label, run) => {
    const element = iconButton(iconName, label, () => run(keyframe.index), { "data-action": kind });
    return [kind, element, label];
  };
  const buttons = [
    act("earlier", "earlier", "Earlier", (index) => actions.move(store, index, index + 1)),
    act("regenerate", "again", "Redraw with another seed", (index) => actions.redraw(store, index, randomSeed())),
    act("replace", "replace", "Replace by a picture of yours", (index) => actions.replace(store, index)),
    act("remove", "trash", "Take out", (index) => actions.remove(store, index)),
    act("later", "later", "Later", (index) => actions.move(store, index, index - 1)),
  ];
  const element = h(
    "li.card",
    { draggable: "true" },
    face,
    h(
      "div.card-actions",
      {},
      buttons.map(([, node]) => node),
    ),
  );

  element.addEventListener("dragstart", (event) => {
    event.dataTransfer.setData("application/x-keyframe", String(keyframe.index));
    event.dataTransfer.effectAllowed = "move";
  });
  element.addEventListener("dragover", (event) => {
    if (event.dataTransfer.types.includes("application/x-keyframe")) event.preventDefault();
    else if (event.dataTransfer.types.includes("Files")) event.preventDefault();
    element.classList.add("over");
  });
  element.addEventListener("dragleave", () => element.classList.remove("over"));
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    element.classList.remove("over");
    const from = event.dataTransfer.getData("application/x-keyframe");
    const [file] = event.dataTransfer.files;
    if (from !== "" && Number(from) !== keyframe.index) actions.move(store, Number(from), keyframe.index);
    else if (file) store.actOnRun((id) => api.replace(id, keyframe.index, file));
  });

  return {
    element,
    update(next) {
      keyframe = next;
      const label = nameOf(next);
      set(element, {
        "data-keyframe": next.index,
        "data-origin": next.origin,
        draggable: next.busy ? "false" : "true",
      });
      set(face, { "aria-pressed": String(next.selected), "aria-label": `${label}${next.done ? "" : ", being drawn"}` });
      const source = pictureOf(next, store.run);
      set(image, { src: source });
      show(image, Boolean(source));
      tell(name, label);
      tell(
        note,
        next.origin === "upload"
          ? "uploaded"
          : next.seed !== null && next.seed !== undefined
            ? `seed ${next.seed}`
            : "",
      );
      element.classList.toggle("selected", next.selected);
      element.classList.toggle("unfinished", !next.done);
      const possible = can(next);
      for (const [kind, node, words] of buttons) {
        node.disabled = !possible[kind];
        set(node, { "aria-label": `${words}: ${label}` });
      }
    },
  };
}

/** The chosen keyframe's own seed: to try one that is known. */
export function selectedTools(store) {
  let keyframe = null;
  let value = 0;
  const own = seed({ id: "pu-keyframe-seed", label: "Seed of this keyframe", change: (next) => (value = next) });
  const redraw = button({
    id: "pu-redraw",
    text: "Redraw",
    icon: "again",
    action: () => actions.redraw(store, keyframe.index, value),
  });
  const name = h("h2.selected-name");
  const element = h("div.chosen-keyframe", {}, name, h("div.selected-tools", {}, own.element, redraw.element));
  let shown = null;
  return {
    element,
    update(next) {
      show(element, Boolean(next));
      if (!next) return;
      keyframe = next;
      tell(name, nameOf(next));
      const possible = can({ ...next, busy: store.busy }).regenerate;
      show(element.lastChild, next.operation_step !== null && next.origin !== "picture");
      if (shown !== next.id) {
        shown = next.id;
        value = next.seed ?? store.settings.seed;
        own.update(value);
      }
      redraw.update({ disabled: !possible });
    },
  };
}
