// The page: three steps and the runs, over one store.

import { api } from "./api.js";
import { arrange, h, set } from "./dom.js";
import { icon, mark } from "./icons.js";
import { filmView } from "./film.js";
import { keyframesView } from "./keyframes.js";
import { notices } from "./notices.js";
import { pictureView } from "./picture.js";
import { runsView } from "./runs.js";
import { isBusy, Store } from "./store.js";
import { themeButton } from "./theme.js";

const STEPS = [
  ["picture", "Picture"],
  ["keyframes", "Keyframes"],
  ["film", "Film"],
];

function build(store) {
  const views = { picture: pictureView, keyframes: keyframesView, film: filmView, runs: runsView };
  const made = {};
  const room = h("main.room", { id: "pu-room", tabindex: "-1" });
  const tabs = STEPS.map(([name, words], index) =>
    h(
      "button.tab",
      { id: `pu-tab-${name}`, type: "button", onclick: () => store.go(name) },
      h("span.tab-number", { "aria-hidden": "true" }, String(index + 1)),
      h("span", {}, words),
    ),
  );
  const runs = h(
    "button.tab.runs-tab",
    { id: "pu-tab-runs", type: "button", onclick: () => store.go("runs") },
    icon("runs"),
    h("span", {}, "Runs"),
  );
  const header = h(
    "header.top",
    {},
    h(
      "a.skip",
      { href: "#pu-room", onclick: (event) => (event.preventDefault(), room.focus()) },
      "Skip to the picture",
    ),
    h("div.brand", {}, mark(), h("span", {}, "paintsundo")),
    h("nav.tabs", { "aria-label": "Steps" }, tabs),
    h("div.top-end", {}, runs, themeButton()),
  );
  const told = notices(store);
  const page = h("div.studio", { id: "pu-page" }, header, room, told.element);

  function update() {
    const { view, run } = store;
    tabs.forEach((tab, index) => {
      const [name] = STEPS[index];
      set(tab, { "aria-current": name === view ? "step" : null });
      tab.disabled = !run && name !== "picture";
    });
    set(runs, { "aria-current": view === "runs" ? "page" : null });
    tabs[1].classList.toggle("working", store.status?.stage === "keyframes");
    tabs[2].classList.toggle("working", store.status?.stage === "film");
    if (!run && (view === "keyframes" || view === "film")) {
      store.view = "picture";
      return update();
    }
    const fresh = !made[view];
    made[view] ??= views[view](store);
    const { stage, panel } = made[view];
    if (room.firstElementChild !== stage) arrange(room, panel ? [stage, panel] : [stage]);
    room.dataset.view = view;
    set(room, { "aria-label": stage.getAttribute("aria-label") });
    made[view].update();
    if (fresh) made[view].update();
    document.title = titleOf(store);
    return undefined;
  }

  store.addEventListener("go", () => {
    for (const [name, view] of Object.entries(made)) if (name !== store.view) view.leave?.();
    window.scrollTo({ top: 0 });
  });
  store.addEventListener("change", () => {
    const held = document.activeElement;
    update();
    remember(store);
    // A control that is gone takes the keyboard's place with it: go on from the beginning of the room.
    const lost =
      held && page.contains(held)
        ? held.disabled || !held.checkVisibility()
        : held && held !== document.body && !held.isConnected;
    if (lost) room.focus({ preventScroll: true });
  });
  update();
  return page;
}

function titleOf({ run, status }) {
  const name = run?.name ? `${run.name} · ` : "";
  const done = isBusy(status) && status.progress ? `${Math.round(100 * status.progress)} % · ` : "";
  return `${done}${name}paintsundo`;
}

// The open run stands in the address, so that a reload finds it again.
function remember({ run, view }) {
  const address = run ? `#${run.id}/${view}` : view === "runs" ? "#runs" : "#";
  if (location.hash !== address && (location.hash || address !== "#")) history.replaceState(null, "", address);
}

async function restore(store, address) {
  const [, id, view] = /^#([0-9a-f]{6,64})(?:\/(\w+))?$/.exec(address) ?? [];
  const runs = await api.runs().catch(() => []);
  store.runs = runs;
  const working = runs.find((run) => isBusy(run)) ?? null;
  const wanted = id && runs.some((run) => run.id === id) ? id : working?.id;
  if (wanted && (await store.open(wanted))) {
    const stage = store.status.stage;
    const natural =
      stage === "keyframes" ? "keyframes" : stage === "film" || store.status.has_film ? "film" : "picture";
    store.go(id === wanted && (view === "runs" || STEPS.some(([name]) => name === view)) ? view : natural);
  } else if (address === "#runs") store.go("runs");
}

async function start() {
  const store = new Store();
  window.addEventListener("pagehide", () => store.save()); // what was typed last
  const address = location.hash;
  settle(build(store));
  performance.mark("paintsundo-painted");
  setInterval(() => store.view === "runs" && !document.hidden && store.runs.some(isBusy) && store.list(), 4000);
  document.addEventListener("visibilitychange", () => document.hidden || store.watch(0));
  for (;;) {
    try {
      store.about = await api.about();
      break;
    } catch (error) {
      store.fail(error);
      await new Promise((again) => setTimeout(again, 2000));
    }
  }
  store.dispatchEvent(new Event("reached"));
  store.changed();
  await restore(store, address);
  performance.mark("paintsundo-ready");
}

// Gradio makes the page's place in a while. Until then the page stands before it, so that nobody waits.
function settle(page) {
  const move = () => {
    const host = document.getElementById("paintsundo");
    if (!host) return false;
    const focused = document.activeElement;
    if (host.moveBefore) host.moveBefore(page, null);
    else host.append(page);
    focused?.focus?.({ preventScroll: true });
    document.documentElement.classList.remove("early");
    return true;
  };
  if (move()) return;
  document.documentElement.classList.add("early");
  document.body.prepend(page);
  const observer = new MutationObserver(() => move() && observer.disconnect());
  observer.observe(document.body, { childList: true, subtree: true });
}

start();
