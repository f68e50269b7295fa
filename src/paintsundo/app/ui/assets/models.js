// Which models draw, with which adapter, and how much memory they may take.

import { h, show, tell } from "./dom.js";
import { details, select, slider } from "./fields.js";

const MEMORY = {
  auto: "As it suits the machine",
  high: "Fast: everything stays in memory",
  low: "Small: only what is working",
};

export function modelFields(store) {
  const model = select({
    id: "pu-model",
    label: "Model",
    change: (name) => {
      const chosen = store.about.models.find((other) => other.name === name);
      // What suits one model rarely suits another; the words and the picture's own things stay.
      const { prompt, fit, width } = store.settings;
      const shape = width === null ? { width: null, height: null, buckets: null } : {};
      store.ownSize = store.ownFilmSize = false;
      store.change({ ...(chosen?.settings ?? {}), model: name, prompt, fit, ...shape });
    },
  });
  const message = h("p.note", { id: "pu-model-message" });
  const lora = select({ id: "pu-lora", label: "LoRA", change: (name) => store.change({ lora: name || null }) });
  const none = h("p.hint", {}, "Adapters in the folder that choices.loras names are offered here.");
  const strength = slider({
    id: "pu-lora-scale",
    label: "Strength",
    min: 0,
    max: 2,
    step: 0.05,
    text: (value) => value.toFixed(2),
    change: (value) => store.change({ lora_scale: value }),
  });
  const memory = select({ id: "pu-memory", label: "Memory", change: (name) => store.change({ memory: name }) });
  const element = h(
    "section.group",
    {},
    h("h2", {}, "Model"),
    model.element,
    message,
    details("LoRA and memory", lora.element, none, strength.element, memory.element),
  );
  return {
    element,
    update() {
      const { about, settings } = store;
      if (!about) return;
      const known = about.models.map((choice) => [
        choice.name,
        choice.available ? choice.label : `${choice.label} (missing)`,
      ]);
      model.update(settings.model, known);
      tell(message, store.model?.message ?? "");
      show(message, Boolean(store.model?.message));
      message.classList.toggle("warning", store.model?.available === false);
      lora.update(settings.lora ?? "", [["", "None"], ...(about.loras ?? []).map((name) => [name, name])]);
      show(none, !(about.loras ?? []).length);
      strength.update(settings.lora_scale ?? 1);
      show(strength.element, Boolean(settings.lora));
      memory.update(settings.memory, Object.entries(MEMORY));
    },
  };
}
