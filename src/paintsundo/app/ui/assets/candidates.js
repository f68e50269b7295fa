// Drawings of several seeds, one row each, to choose from.

import { api } from "./api.js";
import { h, Keyed, set, show, tell } from "./dom.js";
import { button } from "./fields.js";
import { nameOf } from "./steps.js";

export function candidatesView(store) {
  const rows = h("ol.candidates", { id: "pu-candidates", "aria-label": "Drawings to choose from" });
  const keyed = new Keyed(rows, () => candidate(store));
  let closed = null;
  const back = button({ kind: "quiet", text: "Back to the keyframes", icon: "back", action: () => ((closed = chosenKey()), store.changed()) });
  const again = button({ id: "pu-show-candidates", kind: "quiet", text: "Show all drawings again", icon: "runs", action: () => ((closed = null), store.changed()) });
  const room = h("div.candidates-room", {}, rows, back.element);
  const element = h("div.candidates-part", {}, room, again.element);
  const chosenKey = () => `${store.run?.id} ${store.status?.candidates.map(({ seed }) => seed)} ${store.status?.chosen}`;

  return {
    element,
    /** Draws them; true while they are in sight. */
    update() {
      const { candidates = [], chosen = null } = store.status ?? {};
      const several = candidates.length > 1;
      const visible = several && (closed !== chosenKey() || store.busy);
      show(room, visible);
      show(again.element, several && !visible);
      show(element, several);
      if (visible) keyed.update(candidates.map((value, index) => [value.seed, { ...value, index, chosen: value.seed === chosen }]));
      back.update({ visible: chosen !== null && !store.busy });
      return visible;
    },
    close: () => (closed = chosenKey()),
  };
}

function candidate(store) {
  const strip = h("ol.candidate-strip");
  const pictures = new Keyed(strip, () => {
    const image = h("img", { alt: "", draggable: "false" });
    return {
      element: h("li", {}, image),
      update(keyframe) {
        const url = keyframe.url ?? keyframe.preview_url;
        set(image, { src: url ?? null, alt: nameOf(keyframe) });
        show(image, Boolean(url));
      },
    };
  });
  const name = h("span.candidate-name");
  let value = null;
  const take = button({ kind: "small", text: "Take this", action: () => store.actOnRun((id) => api.choose(id, value.index)) });
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
