// Labelled controls of a panel. Each has `element` and `update(value, …)`; a control in use is left alone.

import { freshId, h, set, show, tell } from "./dom.js";
import { icon } from "./icons.js";

const inUse = (input) => document.activeElement === input;

function field(label, id, control, hint) {
  return h("div.field", {}, h("label", { for: id }, label), control, hint ? h("p.hint", {}, hint) : null);
}

/**
 * A whole or decimal number: typed, or stepped by arrow keys. `change(value)` is called with valid ones alone.
 * With `multiple()`, once it is left: with the nearest multiple.
 */
export function number({ id = freshId("number"), label, hint, min, max, step = 1, multiple = null, change }) {
  const input = h("input", { id, type: "number", inputmode: "decimal", min, max, step, autocomplete: "off" });
  input.addEventListener("input", () => {
    const value = Number(input.value);
    const valid = input.value !== "" && Number.isFinite(value) && (step !== 1 || Number.isInteger(value));
    set(input, { "aria-invalid": valid && value >= (min ?? -Infinity) && value <= (max ?? Infinity) ? null : "true" });
    if (valid && !multiple) change(value);
  });
  input.addEventListener("change", () => {
    if (!multiple || !(Number(input.value) > 0)) return;
    input.value = Math.max(1, Math.round(Number(input.value) / multiple())) * multiple();
    change(Number(input.value));
  });
  return {
    element: field(label, id, input, hint),
    input,
    update: (value) => inUse(input) || set(input, { value, "aria-invalid": null }),
  };
}

/** A number on a scale, its value written beside its name. */
export function slider({ id = freshId("slider"), label, min, max, step = 1, text = String, change }) {
  const input = h("input", { id, type: "range", min, max, step });
  const output = h("output", { for: id });
  const fill = () =>
    input.style.setProperty("--share", `${(100 * (input.value - input.min)) / (input.max - input.min)}%`);
  input.addEventListener("input", () => {
    tell(output, text(Number(input.value)));
    fill();
    change(Number(input.value));
  });
  return {
    element: h("div.field", {}, h("div.field-head", {}, h("label", { for: id }, label), output), input),
    input,
    update(value, most = max) {
      set(input, { max: Math.max(most, value) });
      if (!inUse(input)) input.value = value;
      tell(output, text(Number(input.value)));
      fill();
    },
  };
}

/** One of several, as a list that folds out. `update(value, [[value, label, disabled], …])` */
export function select({ id = freshId("select"), label, hint, change }) {
  const input = h("select", { id });
  input.addEventListener("change", () => change(input.value));
  let known = "";
  return {
    element: field(label, id, input, hint),
    input,
    update(value, choices) {
      const key = JSON.stringify(choices);
      if (key !== known) {
        known = key;
        // An option whose value is empty must say so: else its value is its text.
        const option = ([name, text, disabled]) => Object.assign(new Option(text, name), { disabled: Boolean(disabled) });
        input.replaceChildren(...choices.map(option));
      }
      if (!inUse(input)) input.value = value ?? "";
    },
  };
}

/** One of a few, all in sight. */
export function segments({ id = freshId("segments"), label, choices, change }) {
  const name = freshId("radio");
  const inputs = choices.map(([value]) => h("input", { type: "radio", name, value, id: `${id}-${value}` }));
  for (const input of inputs) input.addEventListener("change", () => input.checked && change(input.value));
  const cells = choices.map(([, text, title], index) =>
    h("label.segment", { title }, inputs[index], h("span", {}, text)),
  );
  const legend = freshId("legend");
  const group = h("div.segments", { id, role: "radiogroup", "aria-labelledby": legend }, cells);
  return {
    element: h("div.field", {}, h("span.label", { id: legend }, label), group),
    update: (value) => inputs.forEach((input) => (input.checked = input.value === String(value))),
  };
}

/** A text of several lines. */
export function text({ id = freshId("text"), label, hint, rows = 2, change }) {
  const input = h("textarea", { id, rows, spellcheck: "false", autocomplete: "off" });
  input.addEventListener("input", () => change(input.value));
  return { element: field(label, id, input, hint), input, update: (value) => inUse(input) || set(input, { value }) };
}

/** A seed, with a die to throw. */
export function seed({ id, label = "Seed", change }) {
  const control = number({ id, label, min: 0, max: Number.MAX_SAFE_INTEGER, change });
  const throwDie = () => {
    control.input.value = randomSeed();
    set(control.input, { "aria-invalid": null });
    change(Number(control.input.value));
  };
  const die = h(
    "button.icon-button",
    { type: "button", title: "Another seed", "aria-label": "Another seed" },
    icon("dice"),
  );
  die.addEventListener("click", throwDie);
  const joined = h("div.joined");
  control.input.replaceWith(joined);
  joined.append(control.input, die);
  return control;
}

export const randomSeed = () => Math.floor(Math.random() * 2 ** 31);

/** Controls that few need, folded away. */
export const details = (title, ...children) =>
  h("details.more", {}, h("summary", {}, title), h("div.fields", {}, ...children));

/** A button with a word and an icon. */
export function button({ id, kind = "", text: words, icon: name, title, action }) {
  const label = h("span", {}, words);
  const element = h(`button.button${kind ? `.${kind}` : ""}`, { id, type: "button", title, onclick: action });
  element.append(...(name ? [icon(name)] : []), label);
  return {
    element,
    update({ text: next, disabled = false, visible = true } = {}) {
      if (next) tell(label, next);
      element.disabled = disabled;
      show(element, visible);
    },
  };
}

/** A small square button with an icon alone. */
export function iconButton(name, label, action, properties = {}) {
  return h(
    "button.icon-button",
    { type: "button", title: label, "aria-label": label, onclick: action, ...properties },
    icon(name),
  );
}
