// Step one: a picture, its words, and how it is framed.

import { api } from "./api.js";
import { chips } from "./chips.js";
import { crop } from "./crop.js";
import { arrange, h, show, tell } from "./dom.js";
import { button, details, segments, slider, text } from "./fields.js";
import { fitSentence } from "./geometry.js";
import { icon } from "./icons.js";
import { modelFields } from "./models.js";
import { beginSizes, frameOf, keyframeSize } from "./sizes.js";
import { pictureFrom } from "./uploads.js";

export function pictureView(store) {
  const empty = emptyStage(store);
  const cropped = crop();
  const sentence = h("p.caption", { id: "pu-fit-sentence" });
  const other = button({ kind: "quiet", text: "Another picture", icon: "picture", action: () => store.close() });
  const filled = h("div.stage-fill", {}, cropped.element, h("div.stage-foot", {}, sentence, other.element));
  const stage = h("section.stage", { "aria-label": "Picture" }, empty.element, filled);
  const panel = picturePanel(store);

  return {
    stage,
    panel: panel.element,
    update() {
      const { run, settings } = store;
      show(empty.element, !run);
      show(filled, Boolean(run));
      empty.update();
      panel.update();
      if (!run) return;
      const frame = frameOf(store);
      cropped.update(run.picture, frame, settings.fit);
      tell(sentence, fitSentence(run.picture, frame, settings.fit));
      other.update({ disabled: store.busy });
    },
  };
}

/** Give a picture to the server, then read its words. */
export async function begin(store, make) {
  store.opening = true;
  store.changed();
  const run = await store.act(make);
  store.opening = false;
  store.changed();
  if (!run) return;
  beginSizes(store);
  await readWords(store);
}

async function readWords(store) {
  store.tagging = true;
  store.changed();
  const { id } = store.run;
  const answer = await store.actOnRun(api.tag);
  store.tagging = false;
  if (answer?.prompt !== undefined && store.run?.id === id) store.change({ prompt: answer.prompt });
  store.changed();
}

function emptyStage(store) {
  const input = h("input.unseen", { id: "pu-picture", type: "file", accept: "image/*" });
  input.addEventListener("change", () => {
    const [file] = input.files;
    if (file) begin(store, () => api.upload(file, file.name));
    input.value = "";
  });
  const headline = h("p.drop-title", {}, "Drop a picture here");
  const zone = h(
    "div.drop",
    {},
    icon("picture"),
    headline,
    h("p.drop-hint", {}, "or paste one, or ", h("label.link", { for: "pu-picture" }, "choose a file"), input),
  );
  const examples = h("div.examples", { id: "pu-examples" });
  const examplesPart = h(
    "div.examples-part",
    {},
    h("p.drop-hint", {}, "No picture at hand? Begin with one of these."),
    examples,
  );
  pictureFrom(
    document,
    (file) =>
      store.view === "picture" && !store.opening && !store.busy && begin(store, () => api.upload(file, file.name)),
  );
  let drawn = false;
  return {
    element: h("div.empty", {}, zone, examplesPart),
    update() {
      tell(headline, store.opening ? "Reading the picture…" : "Drop a picture here");
      zone.classList.toggle("working", Boolean(store.opening));
      if (!store.about || drawn) return;
      drawn = true;
      show(examplesPart, store.about.examples.length > 0);
      arrange(
        examples,
        store.about.examples.map(({ name, url }) => {
          const title = name.replace(/\.[^.]+$/, "");
          const image = h("img", { src: url, alt: "", loading: "lazy", draggable: "false" });
          const action = () => store.opening || begin(store, () => api.example(name));
          return h("button.example", { type: "button", "aria-label": `Example: ${title}`, onclick: action }, image);
        }),
      );
    },
  };
}

function picturePanel(store) {
  const change = (name) => (value) => store.change({ [name]: value });
  const tags = chips({ id: "pu-tags", label: "Words of the picture", change: change("prompt") });
  const state = h("p.hint", { role: "status" });
  const again = button({
    kind: "quiet",
    id: "pu-tag",
    text: "Read again",
    icon: "words",
    action: () => readWords(store),
  });
  const prompt = text({ id: "pu-prompt", label: "As one text", rows: 3, change: change("prompt") });
  const general = slider({
    label: "Words surer than",
    min: 0,
    max: 1,
    step: 0.05,
    text: percent,
    change: change("general_threshold"),
  });
  const names = slider({
    label: "Names surer than",
    min: 0,
    max: 1,
    step: 0.05,
    text: percent,
    change: change("character_threshold"),
  });

  const fit = segments({
    id: "pu-fit",
    label: "Framing",
    choices: [
      ["crop", "Crop", "Fill the frame; what lies beyond it is cut off"],
      ["pad", "Pad", "Keep the whole picture, with white around it"],
    ],
    change: change("fit"),
  });
  const size = keyframeSize(store);
  const models = modelFields(store);
  const next = button({
    id: "pu-next",
    kind: "primary",
    text: "To the keyframes",
    icon: "forward",
    action: () => store.go("keyframes"),
  });

  const words = h(
    "section.group",
    {},
    h("div.group-head", {}, h("h2", {}, "Words"), again.element),
    tags.element,
    state,
    details("More about words", prompt.element, general.element, names.element),
  );
  const frame = h("section.group", {}, h("h2", {}, "Frame"), fit.element, size.element);
  const element = h(
    "aside.panel",
    { "aria-label": "Words, frame and models" },
    words,
    frame,
    models.element,
    h("div.dock", {}, next.element),
  );

  return {
    element,
    update() {
      const { run, settings } = store;
      element.inert = !run;
      element.classList.toggle("waiting", !run);
      const promptNow = settings.prompt ?? store.status?.prompt ?? "";
      tags.update(run ? promptNow : "");
      prompt.update(run ? promptNow : "");
      tell(
        state,
        store.tagging
          ? "Reading the picture…"
          : run && !promptNow
            ? "No words yet: add some, or let the picture be read."
            : "",
      );
      show(state, Boolean(state.textContent));
      again.update({ disabled: store.tagging });
      general.update(settings.general_threshold ?? 0.35);
      names.update(settings.character_threshold ?? 0.85);
      fit.update(settings.fit);
      size.update();
      models.update();
      next.update({ disabled: !run || store.tagging });
    },
  };
}

const percent = (value) => `${Math.round(100 * value)} %`;
