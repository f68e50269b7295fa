// How large keyframes and the film are: as the picture's shape, as the model was made for, or one's own.

import { h, show, tell } from "./dom.js";
import { number, select } from "./fields.js";
import { fitSentence, sizeText } from "./geometry.js";

// The picture's own shape, in keyframes and film.
const OWN_SHAPE = { width: null, height: null, buckets: null };
const UNKNOWN_MULTIPLE = 8;

/** A new run follows its picture's shape. */
export function beginSizes(store) {
  store.ownSize = store.ownFilmSize = false;
  store.change(OWN_SHAPE);
}

/** The keyframes' size: what is set, or what the server makes of the picture's shape. */
export function frameOf({ settings, status, run }) {
  if (settings.width && settings.height) return { width: settings.width, height: settings.height };
  const [width, height] = status.size ?? [run.picture.width, run.picture.height];
  return { width, height };
}

/** Two numbers side by side, each brought to what the model can draw. */
function sides(prefix, multiple, change) {
  const width = number({ id: `${prefix}width`, label: "Width", min: 8, multiple, change: change("width") });
  const height = number({ id: `${prefix}height`, label: "Height", min: 8, multiple, change: change("height") });
  return {
    element: h("div.pair", {}, width.element, height.element),
    update(size) {
      width.update(size.width);
      height.update(size.height);
    },
  };
}

export function keyframeSize(store) {
  const size = select({ id: "pu-size", label: "Size", change: pick });
  const multiple = () => store.model?.size_multiple ?? UNKNOWN_MULTIPLE;
  const own = sides("pu-", multiple, (side) => (value) => store.change({ [side]: value }));

  function pick(value) {
    store.ownSize = value === "own";
    store.ownFilmSize = false;
    if (value === "shape") store.change(OWN_SHAPE);
    else if (value === "own") store.change({ ...frameOf(store), buckets: null });
    else {
      const { width, height, buckets } = store.model.settings;
      store.change({ width, height, buckets });
    }
  }

  return {
    element: h("div.sizes", {}, size.element, own.element),
    update() {
      const { run, settings, model } = store;
      const usual = model?.settings;
      const same = usual?.width && usual.width === settings.width && usual.height === settings.height;
      const current = store.ownSize ? "own" : (settings.width ?? null) === null ? "shape" : same ? "model" : "own";
      const shape = run && current === "shape" ? `, ${sizeText(frameOf(store))}` : "";
      size.update(current, [
        ["shape", `As the picture${shape}`],
        ...(usual?.width ? [["model", `The model's own, ${sizeText(usual)}`]] : []),
        ["own", "My own"],
      ]);
      show(own.element, current === "own");
      own.update(run ? frameOf(store) : settings);
    },
  };
}

const asSize = ([height, width]) => ({ width, height });
const asBuckets = ({ width, height }) => [[height, width]];

export function filmSize(store) {
  const size = select({ id: "pu-film-size", label: "Size", change: pick });
  const multiple = () => store.model?.film_multiple ?? UNKNOWN_MULTIPLE;
  const own = sides("pu-film-", multiple, (side) => (value) => {
    store.change({ buckets: asBuckets({ ...filmOf(store), [side]: value }) });
  });
  const sentence = h("p.hint", { id: "pu-film-size-sentence" });

  function pick(value) {
    store.ownFilmSize = value === "own";
    if (value === "shape") store.change({ buckets: null });
    else if (value === "own") store.change({ buckets: asBuckets(filmOf(store)) });
    else if (value !== "several") store.change({ buckets: [JSON.parse(value)] });
  }

  return {
    element: h("div.sizes", {}, size.element, own.element, sentence),
    update() {
      const { settings, status, model } = store;
      if (!status) return;
      const current = store.ownFilmSize ? "own" : filmChoice(settings.buckets, model?.settings.buckets ?? []);
      size.update(current, filmChoices(current, settings.buckets, model?.settings.buckets ?? [], filmOf(store)));
      show(own.element, current === "own");
      own.update(filmOf(store));
      const [width, height] = status.size;
      const fits = fitSentence({ width, height }, filmOf(store), "crop");
      const cut = fits.includes("cut off");
      tell(sentence, cut ? `The keyframes have another shape: ${fits}` : "");
      show(sentence, cut);
    },
  };
}

/** The film's size: the one that is set, or the one that the server takes. */
function filmOf({ settings, status }) {
  if (settings.buckets?.length === 1) return asSize(settings.buckets[0]);
  const [width, height] = status.film_size ?? status.size;
  return { width, height };
}

/** Which choice stands for these sizes of the film; `usual` are the model's own. */
export function filmChoice(buckets, usual) {
  const told = JSON.stringify(buckets);
  if (buckets === null || (usual.length > 1 && told === JSON.stringify(usual))) return "shape";
  if (buckets.length > 1) return "several";
  const known = JSON.stringify(buckets[0]);
  return usual.some((each) => JSON.stringify(each) === known) ? known : "own";
}

function filmChoices(current, buckets, usual, now) {
  const here = current === "shape" ? `, ${sizeText(now)}` : "";
  const shape = usual.length > 1 ? "The nearest of the model's" : "As the keyframes";
  return [
    ["shape", `${shape}${here}`],
    ...(current === "several" ? [["several", `The nearest of ${buckets.length}, ${sizeText(now)}`]] : []),
    ...usual.map((each) => [JSON.stringify(each), sizeText(asSize(each))]),
    ["own", "My own"],
  ];
}
