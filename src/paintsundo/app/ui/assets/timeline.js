// The timeline of operation steps: handles one drags, from the first stroke (left) to the finished picture (right).

import { freshId, h, Keyed, set, show, tell } from "./dom.js";
import { iconButton } from "./fields.js";
import { FIRST_STROKE, moved, parse, place, placed, PRESETS, stepAt, tidy, widestGap } from "./steps.js";

const LABEL_PIXELS = 30;

const KEYS = {
  ArrowLeft: (step, far) => step + (far ? 10 : 1),
  ArrowRight: (step, far) => step - (far ? 10 : 1),
  ArrowUp: (step, far) => step + (far ? 10 : 1),
  ArrowDown: (step, far) => step - (far ? 10 : 1),
  PageUp: (step) => step + 50,
  PageDown: (step) => step - 50,
  Home: () => FIRST_STROKE,
  End: () => 0,
};

/** `change(steps)` with ascending steps; `suited()` gives the steps that the chosen model likes, `most()` how many are allowed. */
export function timeline({ id, change, suited, most }) {
  const track = h("div.track", { title: "Click to add a keyframe" });
  const handles = h("div.handles", { role: "group", "aria-label": "Operation steps of the keyframes" });
  const line = h("div.track-room", {}, track, handles);
  let steps = [];

  const put = (next) => {
    steps = next;
    draw();
    change(steps);
  };
  const drop = (step) => {
    if (steps.length < 2) return;
    const index = steps.indexOf(step);
    put(steps.filter((other) => other !== step));
    handles.children[Math.min(index, steps.length - 1)]?.focus();
  };
  const add = (step) => steps.length < most() && put(tidy([...steps, step]));

  // Handles are told apart by a number of their own, so that one keeps its focus while its step changes.
  let fresh = 0;
  let numbers = [];
  const keyed = new Keyed(handles, () => handle());

  function handle() {
    const label = h("span.handle-label");
    const element = h(
      "button.handle",
      { type: "button", role: "slider", "aria-valuemin": 0, "aria-valuemax": FIRST_STROKE },
      label,
    );
    const node = { element, step: 0, update };
    const to = (step) => {
      const index = steps.indexOf(node.step);
      if (index < 0) return;
      const next = moved(steps, index, step);
      const own = numbers[index];
      const others = numbers.filter((_, other) => other !== index);
      others.splice(next.steps.indexOf(next.step), 0, own);
      numbers = others;
      put(next.steps);
    };
    function update(step) {
      node.step = step;
      tell(label, String(step));
      set(element, {
        style: { left: `${100 * place(step)}%` },
        "aria-valuenow": step,
        "aria-valuetext": `Step ${step} of ${FIRST_STROKE}`,
        "aria-label": "Operation step",
        title: `Step ${step}: drag, use the arrow keys, or press Delete`,
      });
    }
    element.addEventListener("keydown", (event) => {
      if (event.key === "Delete" || event.key === "Backspace") drop(node.step);
      else if (KEYS[event.key]) to(KEYS[event.key](node.step, event.shiftKey));
      else return;
      event.preventDefault();
    });
    element.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      element.setPointerCapture(event.pointerId);
      element.focus();
      event.preventDefault();
    });
    element.addEventListener("pointermove", (event) => {
      if (!element.hasPointerCapture(event.pointerId)) return;
      const box = track.getBoundingClientRect();
      to(stepAt((event.clientX - box.left) / box.width));
      // Far off the track, it is being thrown away.
      element.classList.toggle("leaving", away(event, box) && steps.length > 1);
    });
    element.addEventListener("pointerup", (event) => {
      if (element.classList.contains("leaving") && away(event, track.getBoundingClientRect())) drop(node.step);
      element.classList.remove("leaving");
    });
    element.addEventListener("pointercancel", () => element.classList.remove("leaving"));
    return node;
  }

  function draw() {
    while (numbers.length < steps.length) numbers.push(fresh++);
    numbers.length = steps.length;
    keyed.update(steps.map((step, index) => [numbers[index], step]));
    crowd(handles);
  }

  track.addEventListener("click", (event) => {
    const box = track.getBoundingClientRect();
    add(stepAt((event.clientX - box.left) / box.width));
  });
  new ResizeObserver(() => crowd(handles)).observe(handles);

  const count = h("output", { "aria-live": "polite" });
  const fewer = iconButton("cross", "One keyframe fewer", () => respread(-1));
  const more = iconButton("add", "One keyframe more", () => respread(1));
  fewer.firstChild.firstChild.setAttribute("d", "M5 12h14");
  let preset = null;
  const respread = (by) => {
    if (preset) choose(preset, steps.length + by);
    else if (by > 0) add(widestGap(steps));
    else drop([...steps].sort((a, b) => crowdedness(steps, a) - crowdedness(steps, b))[0]);
  };
  const choose = (name, size) => {
    preset = name;
    numbers = [];
    put(name === "suited" ? tidy(suited()) : placed(name, Math.min(Math.max(1, size), most())));
    mark();
  };
  const names = [["suited", "As the model likes"], ...PRESETS];
  const chips = names.map(([name, words]) =>
    h(
      "button.preset",
      { type: "button", "aria-pressed": "false", onclick: () => choose(name, steps.length || 5) },
      words,
    ),
  );
  const mark = () => {
    const same = (name) => {
      const wanted = name === "suited" ? tidy(suited()) : steps.length ? placed(name, steps.length) : [];
      return wanted.join() === steps.join();
    };
    const current = preset && preset !== "suited" && same(preset) ? preset : names.map(([name]) => name).find(same);
    preset = current && current !== "suited" ? current : null;
    chips.forEach((chip, index) => chip.setAttribute("aria-pressed", String(names[index][0] === current)));
  };

  const typedId = freshId("steps");
  const typed = h("input", {
    id: typedId,
    type: "text",
    inputmode: "numeric",
    autocomplete: "off",
    "aria-describedby": `${typedId}-problem`,
  });
  const problem = h("p.problem", { id: `${typedId}-problem`, role: "alert" });
  typed.addEventListener("input", () => {
    const read = parse(typed.value, most());
    tell(problem, read.problem ?? "");
    set(typed, { "aria-invalid": read.problem ? "true" : null });
    if (read.steps) put(read.steps);
  });
  typed.addEventListener("blur", () => update(steps));

  const typing = h(
    "div.field",
    { hidden: true },
    h("label", { for: typedId }, "Operation steps, 0 to 999"),
    typed,
    problem,
  );
  const unfold = h("button.text-button", { type: "button", "aria-expanded": "false" }, "Type the steps");
  unfold.addEventListener("click", () => {
    show(typing, typing.hidden);
    set(unfold, { "aria-expanded": String(!typing.hidden) });
    if (!typing.hidden) typed.focus();
  });

  function update(next) {
    if (next.join() !== steps.join()) {
      steps = tidy(next);
      draw();
    }
    mark();
    tell(count, `${steps.length}`);
    fewer.disabled = steps.length < 2;
    more.disabled = steps.length >= most();
    if (document.activeElement !== typed) {
      set(typed, { value: [...steps].reverse().join(", "), "aria-invalid": null });
      tell(problem, "");
    }
    show(problem, Boolean(problem.textContent));
  }

  const element = h(
    "div.timeline",
    { id },
    h(
      "div.presets",
      {},
      h("div.preset-row", { role: "group", "aria-label": "Spread of the keyframes" }, chips),
      h("div.counter", {}, fewer, count, more),
    ),
    line,
    h("div.ends", {}, h("span", {}, "first stroke"), unfold, h("span", {}, "finished")),
    typing,
  );
  return { element, update };
}

const away = (event, box) => event.clientY < box.top - 70 || event.clientY > box.bottom + 70;

const crowdedness = (steps, step) => {
  const index = steps.indexOf(step);
  return (steps[index + 1] ?? FIRST_STROKE + 200) - (steps[index - 1] ?? -200);
};

// Labels that would lie on one another take turns above and below; where that does not help, one shows on demand.
function crowd(handles) {
  const width = handles.clientWidth;
  const last = { above: Infinity, below: Infinity };
  for (const handle of handles.children) {
    const at = (parseFloat(handle.style.left) / 100) * width;
    const lane = ["above", "below"].find((name) => Math.abs(last[name] - at) >= LABEL_PIXELS);
    if (lane) last[lane] = at;
    handle.classList.toggle("below", lane === "below");
    handle.classList.toggle("mute", !lane);
  }
}
