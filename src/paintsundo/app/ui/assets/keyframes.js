// Step two: where keyframes are drawn, and the keyframes themselves, each to be redrawn, replaced, moved or taken out.

import { api } from "./api.js";
import { candidatesView } from "./candidates.js";
import { compare } from "./compare.js";
import { h, Keyed, set, show, tell } from "./dom.js";
import { button, iconButton, number, randomSeed, seed, segments } from "./fields.js";
import { progressBar } from "./progress.js";
import { keyframeSampling } from "./sampling.js";
import { nameOf } from "./steps.js";
import { timeline } from "./timeline.js";
import { chooseFile } from "./uploads.js";

export const pictureOf = (keyframe) => keyframe.url ?? keyframe.preview_url ?? null;

export function keyframesView(store) {
  const view = { selected: null, mode: "look" };
  const big = h("img", { alt: "", draggable: "false" });
  const waiting = h("p.stage-words", {}, "Waiting for the first strokes…");
  const words = h("p.plan-words");
  const look = h("figure.look", {}, big, waiting);
  const comparison = compare({ id: "pu-compare" });
  const mode = segments({
    id: "pu-keyframes-mode",
    label: "View",
    choices: [
      ["look", "One"],
      ["compare", "Compare"],
    ],
    change: (value) => {
      view.mode = value;
      update();
    },
  });
  const tools = selectedTools(store, view, (index) => choose(index));
  const cards = h("ol.cards", {
    id: "pu-keyframes",
    "aria-label": "Keyframes, from the blank canvas to the finished picture",
  });
  const candidates = candidatesView(store);
  const progress = progressBar(store);
  const plan = timeline({
    id: "pu-steps-timeline",
    change: (steps) => store.change({ operation_steps: steps }),
    suited: () => store.model?.settings?.operation_steps ?? store.about.defaults.operation_steps,
    most: () => store.about?.limits.keyframes_count ?? 32,
  });
  const stage = h(
    "section.stage",
    { "aria-label": "Keyframes" },
    h("div.stage-head", {}, words, mode.element, tools.element),
    h("div.stage-room", {}, look, comparison.element, candidates.element),
    progress.element,
    cards,
    plan.element,
  );
  const panel = keyframesPanel(store, candidates);

  const choose = (key) => {
    view.selected = key;
    update();
  };
  const keyed = new Keyed(cards, (id) => card(store, () => choose(id)));

  function update() {
    const { status, run } = store;
    if (!run) return;
    const all = status.keyframes.map((keyframe, index) => ({ ...keyframe, index, last: status.keyframes.length - 1 }));
    // Time runs to the right: the blank canvas is the last keyframe and the first one drawn.
    const drawn = [...all].reverse();
    let current = all.find((keyframe) => keyframe.id === view.selected);
    if (!current && view.index !== undefined) current = all[Math.min(view.index, all.length - 1)];
    current ??= drawn.find((keyframe) => keyframe.origin === "generated") ?? drawn.at(-1);
    view.selected = current?.id;
    view.index = current?.index;

    candidates.update();
    const sideBySide = candidates.visible();
    const comparing = view.mode === "compare" && store.ready && !sideBySide;
    show(mode.element, all.length > 0 && !sideBySide);
    mode.update(comparing ? "compare" : "look");
    show(look, !comparing && !sideBySide);
    show(comparison.element, comparing);
    if (comparing) comparison.update(drawn.map((keyframe) => [keyframe.id, nameOf(keyframe), keyframe.url]));

    const url = current ? pictureOf(current) : run.picture.url;
    set(big, { src: url, alt: current ? nameOf(current) : "Your picture" });
    show(big, Boolean(url));
    look.classList.toggle("unfinished", Boolean(current) && !current.done);
    show(waiting, Boolean(current) && !url);
    show(words, all.length === 0 || sideBySide);
    tell(words, sideBySide ? "Take the drawing you like best." : "Drag the marks to where keyframes should be drawn.");
    tools.update(all.length && !sideBySide ? current : null);

    show(cards, all.length > 0 && !sideBySide);
    keyed.update(
      drawn.map((keyframe) => [
        keyframe.id,
        { ...keyframe, selected: keyframe.id === view.selected, busy: store.busy },
      ]),
    );
    plan.element.inert = store.busy;
    plan.update(store.settings.operation_steps);
    progress.update();
    panel.update();
  }

  return { stage, panel: panel.element, update };
}

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

function card(store, select) {
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
      set(image, { src: pictureOf(next) });
      show(image, Boolean(pictureOf(next)));
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

// The chosen keyframe's own seed: to try one that is known.
function selectedTools(store) {
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

function keyframesPanel(store, candidates) {
  let together = 1;
  const one = seed({ id: "pu-seed", change: (value) => store.change({ seed: value }) });
  const several = number({
    id: "pu-seeds",
    label: "Seeds side by side",
    hint: "Several drawings to choose from; each takes as long as one.",
    min: 1,
    max: 8,
    change: (value) => {
      together = value;
      update();
    },
  });
  const others = button({
    id: "pu-show-candidates",
    kind: "quiet",
    text: "Show all drawings again",
    icon: "runs",
    action: () => candidates.reopen(),
  });
  const sampling = keyframeSampling(store);
  const lacking = h("p.note.warning");
  const draw = button({ id: "pu-make-keyframes", kind: "primary", text: "Draw the keyframes", action: () => start() });
  const addOne = button({
    id: "pu-add-keyframe",
    kind: "wide",
    text: "Draw only the new step",
    icon: "add",
    action: () => addMissing(),
  });
  const next = button({
    id: "pu-next-film",
    kind: "primary",
    text: "To the film",
    icon: "forward",
    action: () => store.go("film"),
  });
  const start = () => {
    const most = store.about.limits.seeds ?? 8;
    const count = Math.min(Math.max(1, together), most);
    const first = store.settings.seed;
    const seeds = count > 1 ? Array.from({ length: count }, (_, index) => first + index) : null;
    return store.actOnRun((id) => api.keyframes(id, seeds));
  };
  const missing = () => {
    const there = new Set((store.status?.keyframes ?? []).map((keyframe) => keyframe.operation_step));
    return store.settings.operation_steps.filter((step) => !there.has(step));
  };
  const addMissing = () => store.actOnRun((id) => api.add(id, missing()[0]));
  const element = h(
    "aside.panel",
    { "aria-label": "How keyframes are drawn" },
    h("section.group", {}, h("h2", {}, "Drawing"), one.element, several.element, others.element, lacking),
    h("section.group", {}, sampling.element),
    h("div.dock", {}, addOne.element, draw.element, next.element),
  );

  function update() {
    const { settings, status, busy, ready } = store;
    one.update(settings.seed);
    several.update(together);
    several.input.max = store.about?.limits.seeds ?? 8;
    const missingModel = store.model?.available === false;
    tell(lacking, missingModel ? store.model.message : "");
    show(lacking, missingModel);
    others.update({ visible: candidates.hidden() });
    sampling.update();
    const there = (status?.keyframes ?? []).length > 0;
    draw.update({ text: there ? "Draw all again" : "Draw the keyframes", disabled: busy || missingModel });
    draw.element.classList.toggle("primary", !ready);
    const absent = missing();
    addOne.update({
      visible: ready && absent.length > 0 && absent.length < settings.operation_steps.length,
      text: `Draw only step ${absent[0]}`,
    });
    draw.element.hidden = busy;
    next.update({ visible: ready });
  }
  return { element, update };
}
