// Step two: where keyframes are drawn, and the keyframes themselves.

import { candidatesView } from "./candidates.js";
import { compare } from "./compare.js";
import { h, Keyed, set, show, tell } from "./dom.js";
import { segments } from "./fields.js";
import { card, pictureOf, selectedTools } from "./keyframe_card.js";
import { keyframesPanel } from "./keyframes_panel.js";
import { progressBar } from "./progress.js";
import { nameOf } from "./steps.js";
import { timeline } from "./timeline.js";

export function keyframesView(store) {
  const view = { selected: null, mode: "look" };
  const big = h("img", { alt: "", draggable: "false" });
  const waiting = h("p.stage-words");
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
    if (comparing) {
      const states = drawn.map((keyframe) => [keyframe.id, nameOf(keyframe), keyframe.url]);
      comparison.update(states, status.size);
    }

    const url = current ? pictureOf(current, run) : run.picture.url;
    set(big, { src: url, alt: current ? nameOf(current) : "Your picture" });
    show(big, Boolean(url));
    look.classList.toggle("unfinished", Boolean(current) && !current.done);
    tell(waiting, store.busy ? "Waiting for the first strokes…" : "Not drawn yet.");
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
