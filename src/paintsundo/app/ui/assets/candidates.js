// Drawings of several seeds, one row each, to choose from.

import { api } from "./api.js";
import { h, Keyed, set, show, tell } from "./dom.js";
import { button } from "./fields.js";
import { pictureOf } from "./keyframe_card.js";
import { nameOf } from "./steps.js";

export function candidatesView(store) {
  const rows = h("ol.candidates", { id: "pu-candidates", "aria-label": "Drawings to choose from" });
  const keyed = new Keyed(rows, () => candidate(store, close));
  const back = button({ kind: "quiet", text: "Back to the keyframes", icon: "back", action: close });
  const element = h("div.candidates-room", {}, rows, back.element);
  let reopened = null;

  function close() {
    reopened = null;
    store.changed();
  }
  const several = () => (store.status?.candidates ?? []).length > 1;
  // Those nobody has chosen from yet, or that somebody wants to see again.
  const visible = () => several() && (store.status.chosen === null || reopened === store.run.id);

  return {
    element,
    visible,
    hidden: () => several() && !visible(),
    reopen() {
      reopened = store.run.id;
      store.changed();
    },
    update() {
      show(element, visible());
      if (!visible()) return;
      const { candidates, chosen } = store.status;
      keyed.update(candidates.map((value, index) => [value.seed, { ...value, index, chosen: value.seed === chosen }]));
      back.update({ visible: chosen !== null });
    },
  };
}

function candidate(store, close) {
  const strip = h("ol.candidate-strip");
  const pictures = new Keyed(strip, () => {
    const image = h("img", { alt: "", draggable: "false" });
    const element = h("li", {}, image);
    return {
      element,
      update(keyframe) {
        set(element, { "data-origin": keyframe.origin });
        const url = pictureOf(keyframe, store.run);
        set(image, { src: url, alt: nameOf(keyframe) });
        show(image, Boolean(url));
      },
    };
  });
  const name = h("span.candidate-name");
  let value = null;
  const take = button({ kind: "small", text: "Take this", action: () => choose() });
  const choose = async () => {
    if (value.chosen || (await store.actOnRun((id) => api.choose(id, value.index)))) close();
  };
  const element = h("li.candidate", {}, h("div.candidate-head", {}, name, take.element), strip);
  return {
    element,
    update(next) {
      value = next;
      set(element, { "data-candidate": next.index });
      element.classList.toggle("chosen", next.chosen);
      tell(name, `Seed ${next.seed}`);
      take.update({ disabled: store.busy || !next.done, text: next.chosen ? "Taken" : "Take this" });
      set(take.element, { "aria-pressed": String(next.chosen) });
      pictures.update([...next.keyframes].reverse().map((keyframe) => [keyframe.id, keyframe]));
    },
  };
}
