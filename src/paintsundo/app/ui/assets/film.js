// Step three: the film, what it shows, and everything that can be taken home.

import { api } from "./api.js";
import { compare } from "./compare.js";
import { curves } from "./curves.js";
import { downloads } from "./downloads.js";
import { h, show, tell } from "./dom.js";
import { button, number, seed, segments } from "./fields.js";
import { isThere, layout, marks, operationSteps } from "./frames.js";
import { player } from "./player.js";
import { progressBar } from "./progress.js";
import { filmSampling } from "./sampling.js";
import { filmSize } from "./sizes.js";
import { nameOf } from "./steps.js";

const HELD = 12;

export function filmView(store) {
  // `made` is another for every film that is made: pictures and curves of the one before are not shown any more.
  const view = { mode: "play", run: null, made: 0, busy: false, curvesOf: null, curves: null, held: [] };
  const show_ = curves({ id: "pu-curves", seek: (frame) => film.seek(frame) });
  const hold = (frame) => {
    view.held = [...new Set([...view.held, frame])].slice(-HELD);
    store.say(`Frame ${frame + 1} can be compared now.`);
  };
  const film = player({ id: "pu-player", looked: (frame) => show_.look(frame), hold });
  const comparison = compare({ id: "pu-film-compare" });
  const mode = segments({
    id: "pu-film-mode",
    label: "View",
    choices: [
      ["play", "Film"],
      ["compare", "Compare"],
    ],
    change: (value) => {
      view.mode = value;
      film.pause();
      update();
    },
  });
  const head = h("div.stage-head", {}, mode.element);
  const emptyWords = h("p.stage-words");
  const begin = button({
    kind: "primary",
    text: "To the keyframes",
    icon: "back",
    action: () => store.go("keyframes"),
  });
  const empty = h("div.stage-empty", {}, emptyWords, begin.element);
  const progress = progressBar(store);
  const stage = h(
    "section.stage",
    { "aria-label": "Film" },
    head,
    empty,
    film.element,
    comparison.element,
    show_.element,
    progress.element,
  );
  const panel = filmPanel(store);

  function update() {
    const { run, status, settings } = store;
    if (!run) return;
    if (view.run !== run.id || (view.busy && !store.busy)) view.made = Date.now();
    if (view.run !== run.id) view.held = [];
    if (view.run !== run.id || (store.busy && !view.busy)) view.mode = "play"; // another film than the one compared
    view.run = run.id;
    view.busy = store.busy;
    const plan = layout(status);
    const some = plan.pieces.some(([, , done]) => done);
    const comparing = view.mode === "compare" && some;
    show(empty, !some && !store.busy);
    tell(
      emptyWords,
      store.ready
        ? "The keyframes are ready. Make the film between them."
        : "The film is made between keyframes. Draw those first.",
    );
    begin.update({ visible: !store.ready });
    show(film.element, !comparing && (some || store.busy));
    show(comparison.element, comparing);
    show(head, some);
    mode.update(comparing ? "compare" : "play");
    progress.update();
    panel.update();

    const version = `${status.has_film && !store.busy ? "film" : "part"}-${view.made}`;
    const url = (index) => api.frameUrl(run.id, index, version);
    const steps = view.curves?.operation_steps ?? operationSteps(plan.places, plan.total);
    film.update({
      key: run.id,
      fps: settings.fps,
      total: plan.total,
      available: (frame) => isThere(plan.pieces, frame),
      url,
      steps,
      pieces: plan.pieces,
      standIns: standIns(plan, status),
      places: marks(plan.places),
    });
    if (comparing) comparison.update(states(plan, url, film.frame), status.film_size ?? status.size);
    fetchCurves(status, run.id);
    show(show_.element, Boolean(view.curves) && !comparing);
  }

  function states(plan, url, frame) {
    const list = plan.places
      .filter(([, keyframe]) => keyframe.url)
      .map(([at, keyframe]) => [at, [keyframe.id, nameOf(keyframe), keyframe.url]]);
    for (const held of view.held) {
      if (isThere(plan.pieces, held)) list.push([held - 0.5, [`frame ${held}`, `Frame ${held + 1}`, url(held)]]);
    }
    if (isThere(plan.pieces, frame))
      list.push([frame - 0.4, ["here", `Frame ${frame + 1}, where the film stands`, url(frame)]]);
    return list.sort((a, b) => a[0] - b[0]).map(([, state]) => state);
  }

  async function fetchCurves(status, id) {
    const key = status.has_film && !store.busy ? `${id} ${view.made}` : null;
    if (view.curvesOf === key) return;
    view.curvesOf = key;
    view.curves = null;
    if (!key) return;
    try {
      const data = await api.curves(id);
      if (view.curvesOf !== key) return;
      view.curves = data;
      show_.update(data);
      show_.look(film.frame);
      update();
    } catch (error) {
      store.fail(error);
    }
  }

  return { stage, panel: panel.element, update, leave: () => film.pause() };
}

// What is shown where nothing is painted: the keyframes, or before their places are known, the finished one.
function standIns({ places }, { keyframes = [] }) {
  const known = places.length ? places : keyframes.slice(0, 1).map((keyframe) => [0, keyframe]);
  return known.filter(([, keyframe]) => keyframe.url).map(([frame, keyframe]) => [frame, keyframe.url]);
}

function filmPanel(store) {
  const change = (name) => (value) => store.change({ [name]: value });
  const own = seed({ id: "pu-video-seed", change: change("video_seed") });
  const fps = number({ id: "pu-fps", label: "Frames per second", min: 1, max: 60, step: "any", change: change("fps") });
  const size = filmSize(store);
  const sampling = filmSampling(store);
  const make = button({
    id: "pu-make-film",
    kind: "primary",
    text: "Make the film",
    icon: "play",
    action: () => store.actOnRun(api.film),
  });
  const offers = downloads(store);
  const element = h(
    "aside.panel",
    { "aria-label": "How the film is made" },
    offers.element,
    h("section.group", {}, h("h2", {}, "Filming"), own.element, size.element, fps.element, sampling.window.element),
    h("section.group", {}, sampling.element),
    h("div.dock", {}, make.element),
  );
  return {
    element,
    update() {
      const { settings, status, busy, ready } = store;
      own.update(settings.video_seed);
      size.update();
      fps.update(settings.fps);
      sampling.update();
      offers.update();
      make.update({ text: status?.has_film ? "Make the film again" : "Make the film", disabled: busy || !ready });
      make.element.classList.toggle("primary", !status?.has_film);
    },
  };
}
