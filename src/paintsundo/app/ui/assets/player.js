// The film: played forward (redo) and backward (undo), scrubbed by operation step, while the rest is still made.

import { Clock, SPEEDS } from "./clock.js";
import { h, set, show, svg, tell } from "./dom.js";
import { iconButton, segments, select } from "./fields.js";
import { icon } from "./icons.js";

const AHEAD = 24;
const KEPT = 400;
const RETRY = 500; // milliseconds
const PATIENCE = 10;

/** `looked(frame)` is called when the frame in sight changes, `hold(frame)` where one is kept to be compared. */
export function player({ id, looked = () => {}, hold = null }) {
  const clock = new Clock();
  const canvas = h("canvas", { role: "img", "aria-label": "The film" });
  const missing = h("p.stage-words", {}, "Not painted yet");
  const screen = h("figure.screen", {}, canvas, missing);
  const range = h("input.scrub", {
    type: "range",
    min: 0,
    max: 0,
    value: 0,
    step: 1,
    "aria-label": "Place in the film",
    id: `${id}-scrub`,
  });
  const lane = svg("svg", {
    class: "lane",
    preserveAspectRatio: "none",
    viewBox: "0 0 1000 10",
    "aria-hidden": "true",
  });
  const marks = h("div.scrub-marks", { "aria-hidden": "true" });
  const where = h("output.where", { for: range.id });
  const play = h("button.play", { type: "button", id: `${id}-play`, "aria-label": "Play" });
  const back = iconButton("earlier", "One frame back", () => step(-1));
  const on = iconButton("later", "One frame on", () => step(1));
  const keep = iconButton("pin", "Keep this frame to compare", () => hold(clock.frame), {
    id: `${id}-hold`,
    hidden: hold === null,
  });
  const direction = segments({
    id: `${id}-direction`,
    label: "Direction",
    choices: [
      ["-1", "Undo", "Backward: strokes are taken back"],
      ["1", "Redo", "Forward: strokes are made"],
    ],
    change: (value) => {
      clock.direction = Number(value);
      draw();
    },
  });
  const speed = select({ id: `${id}-speed`, label: "Speed", change: (value) => (clock.speed = Number(value)) });
  const bars = [
    h("div.scrub-room", {}, lane, range, marks),
    h("div.controls", {}, play, back, on, keep, where, h("span.spring"), direction.element, speed.element),
  ];
  const element = h("div.player", { id, tabindex: "-1" }, screen, ...bars);

  const images = new Map();
  const missed = new Map(); // address → how often it did not come
  let film = null; // { key, fps, total, available(index), url(index), steps, places }
  let shown = -1;
  let ticking = 0;
  let before = 0;
  let touched = false;

  function image(url) {
    let entry = images.get(url);
    if (!entry) {
      entry = { picture: new Image(), ready: false };
      entry.picture.decoding = "async";
      entry.picture.addEventListener("load", () => {
        entry.ready = true;
        missed.delete(url);
        if (film) draw();
      });
      // A frame that did not come is asked for again, later each time, as long as somebody looks at it.
      entry.picture.addEventListener("error", () => {
        const misses = (missed.get(url) ?? 0) + 1;
        missed.set(url, misses);
        setTimeout(
          () => {
            images.delete(url);
            if (film?.available(clock.frame) && film.url(clock.frame) === url) draw();
          },
          RETRY * Math.min(misses, PATIENCE),
        );
      });
      entry.picture.src = url;
      images.set(url, entry);
      if (images.size > KEPT) images.delete(images.keys().next().value);
    }
    return entry;
  }

  function paint(picture) {
    if (canvas.width !== picture.naturalWidth || canvas.height !== picture.naturalHeight) {
      canvas.width = picture.naturalWidth;
      canvas.height = picture.naturalHeight;
    }
    canvas.getContext("2d").drawImage(picture, 0, 0);
  }

  // Where nothing is painted yet: the nearest keyframe, faintly.
  function standIn(frame) {
    const [nearest] = [...(film.standIns ?? [])].sort((a, b) => Math.abs(a[0] - frame) - Math.abs(b[0] - frame));
    if (!nearest) return;
    const entry = image(nearest[1]);
    if (entry.ready) paint(entry.picture);
  }

  function draw() {
    if (!film) return;
    const frame = clock.frame;
    const there = film.available(frame);
    show(missing, !there);
    if (there) {
      const { picture, ready } = image(film.url(frame));
      if (ready) paint(picture);
      for (let ahead = 1; ahead <= AHEAD; ahead++) {
        const next = frame + ahead * clock.direction;
        if (next >= 0 && next <= clock.last && film.available(next)) image(film.url(next));
      }
    } else standIn(frame);
    canvas.classList.toggle("dim", !there);
    if (Number(range.value) !== frame) range.value = frame;
    const operation = film.steps?.[frame];
    const place = operation === undefined ? `Frame ${frame + 1} of ${clock.last + 1}` : `Step ${Math.round(operation)}`;
    tell(where, place);
    set(range, { "aria-valuetext": `${place}, frame ${frame + 1} of ${clock.last + 1}` });
    range.style.setProperty("--share", `${(100 * frame) / Math.max(1, clock.last)}%`);
    const kind = clock.playing ? "pause" : clock.direction < 0 ? "reverse" : "play";
    if (play.dataset.kind !== kind) {
      play.dataset.kind = kind;
      play.replaceChildren(icon(kind));
      set(play, { "aria-label": clock.playing ? "Pause" : "Play" });
    }
    direction.update(clock.direction);
    speed.update(
      clock.speed,
      SPEEDS.map((value) => [value, `${value} ×`]),
    );
    if (frame !== shown) {
      shown = frame;
      looked(frame);
    }
  }

  function tick(now) {
    const seconds = Math.min(0.25, (now - before) / 1000);
    before = now;
    const position = clock.position;
    clock.advance(seconds);
    if (!element.isConnected || element.hidden) clock.pause();
    if (film && !film.available(clock.frame)) {
      // The rest is not painted yet: wait at the edge rather than play emptiness.
      clock.position = position;
      clock.pause();
    } else if (film && !image(film.url(clock.frame)).ready) clock.position = position;
    draw();
    ticking = clock.playing ? requestAnimationFrame(tick) : 0;
  }

  function start() {
    touched = true;
    clock.play();
    // From an unpainted place, begin where there is something to see.
    if (film && !film.available(clock.frame)) clock.seek(firstThere(film, clock.direction) ?? clock.position);
    before = performance.now();
    if (clock.playing && !ticking) ticking = requestAnimationFrame(tick);
    draw();
  }

  const toggle = () => (clock.playing ? (clock.pause(), draw()) : start());
  const seek = (frame) => {
    touched = true;
    clock.seek(frame);
    draw();
  };
  const step = (by) => {
    clock.pause();
    seek(clock.frame + by);
  };
  play.addEventListener("click", toggle);
  screen.addEventListener("click", toggle);
  range.addEventListener("input", () => {
    clock.pause();
    seek(Number(range.value));
  });
  element.addEventListener("keydown", (event) => {
    const typing = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName) && event.target !== range;
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if ((event.key === " " && event.target.tagName !== "BUTTON") || event.key === "k") toggle();
    else if (event.key === "r") {
      clock.direction *= -1;
      draw();
    } else return;
    event.preventDefault();
  });

  return {
    element,
    play: start,
    pause: () => clock.playing && toggle(),
    seek,
    get frame() {
      return clock.frame;
    },
    /**
     * Another film, or the same further on. `places`: [[frame, label], …] of keyframes; `pieces`: [[from, to, done], …];
     * `standIns`: [[frame, url], …] to show meanwhile where nothing is painted.
     */
    update(next) {
      const other = film?.key !== next.key;
      film = next;
      clock.fps = next.fps;
      clock.last = Math.max(0, next.total - 1);
      set(range, { max: clock.last });
      for (const bar of bars) show(bar, next.total > 0);
      if (other) {
        images.clear();
        missed.clear();
        clock.pause();
        clock.seek(0);
        shown = -1;
        touched = false;
      }
      clock.seek(clock.position);
      if (!touched && !film.available(clock.frame)) clock.seek(firstThere(film) ?? clock.position);
      drawLane(lane, next, clock.last);
      drawMarks(marks, next.places ?? [], clock.last);
      draw();
    },
  };
}

function firstThere(film, direction = 1) {
  const done = film.pieces.filter((piece) => piece[2]);
  if (!done.length) return null;
  return direction > 0 ? done[0][0] : done.at(-1)[1];
}

function drawLane(lane, film, last) {
  const key = JSON.stringify([film.pieces, last]);
  if (lane.dataset.key === key) return;
  lane.dataset.key = key;
  const at = (frame) => (1000 * frame) / Math.max(1, last);
  lane.replaceChildren(
    ...(film.pieces ?? []).map(([from, to, done]) =>
      svg("rect", {
        x: at(from) + 1,
        y: 0,
        width: Math.max(1, at(to) - at(from) - 2),
        height: 10,
        class: done ? "done" : "open",
      }),
    ),
  );
}

function drawMarks(marks, places, last) {
  const key = JSON.stringify([places, last]);
  if (marks.dataset.key === key) return;
  marks.dataset.key = key;
  marks.replaceChildren(
    ...places.map(([frame, label]) => h("span", { style: { left: `${(100 * frame) / Math.max(1, last)}%` } }, label)),
  );
}
