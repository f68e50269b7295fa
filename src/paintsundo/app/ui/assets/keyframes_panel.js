// How keyframes are drawn: seed, several seeds side by side, sampler; and the buttons that do it.

import { api } from "./api.js";
import { h, show, tell } from "./dom.js";
import { button, number, seed } from "./fields.js";
import { keyframeSampling } from "./sampling.js";

export function keyframesPanel(store, candidates) {
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
    const there = (status?.keyframes ?? []).some((keyframe) => keyframe.done);
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
