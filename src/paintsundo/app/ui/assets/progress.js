// What the engine is doing with the open run, how long it still takes, and the way to stop it.

import { clockText, timeLeft } from "./clock.js";
import { h, set, show, tell } from "./dom.js";
import { button } from "./fields.js";
import { api } from "./api.js";

/** A sentence about a status. */
function sentenceOf(status) {
  if (status.stage === "queued") {
    const before = status.place_in_queue;
    return before > 0 ? `Waiting: ${before} before you.` : "Waiting for its turn; it is the next one.";
  }
  const left = timeLeft(status.seconds_left);
  if (status.stage === "keyframes") return left ? `Drawing keyframes, ${left}.` : "Drawing keyframes…";
  if (status.stage === "film") {
    const pairs = status.pairs_done ?? [];
    const done = pairs.filter(Boolean).length;
    const part = pairs.length ? `Filming, ${done} of ${pairs.length} pairs done` : "Filming";
    return left ? `${part}, ${left}.` : `${part}…`;
  }
  if (status.stage === "cancelled") return status.message || "Stopped. What was done is kept.";
  if (status.stage === "interrupted")
    return status.message || "Interrupted when the server stopped. What was done is kept.";
  if (status.stage === "failed") return status.error || status.message || "This did not work.";
  return status.message || "";
}

export function progressBar(store) {
  const bar = h("div.bar-fill");
  const meter = h(
    "div.meter",
    { id: "pu-progress", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100, "aria-label": "Progress" },
    bar,
  );
  const sentence = h("p.progress-words", { id: "pu-status", role: "status" });
  const stop = button({
    id: "pu-cancel",
    kind: "quiet",
    text: "Stop",
    icon: "cross",
    action: () => store.actOnRun(api.cancel),
  });
  const resume = button({ id: "pu-resume", text: "Go on", icon: "play", action: () => store.actOnRun(api.resume) });
  const notices = h("ul.run-notices");
  const element = h("div.work", {}, h("div.progress-line", {}, sentence, stop.element, resume.element), meter, notices);
  return {
    element,
    update() {
      const { status, busy } = store;
      const halted = ["cancelled", "interrupted", "failed"].includes(status?.stage);
      const words = status ? sentenceOf(status) : "";
      const lines = status?.notices ?? [];
      show(element, busy || halted || lines.length > 0);
      tell(sentence, words);
      show(sentence, busy || halted);
      sentence.classList.toggle("failed", status?.stage === "failed");
      show(meter, busy || status?.stage === "cancelled" || status?.stage === "interrupted");
      const share = status?.progress ?? 0;
      bar.style.setProperty("--share", String(share));
      meter.classList.toggle("unknown", busy && share === 0);
      set(meter, {
        "aria-valuenow": Math.round(100 * share),
        title: status?.seconds_left ? `${clockText(status.seconds_left)} left` : null,
      });
      stop.update({ visible: busy });
      resume.update({ visible: halted });
      if (notices.childElementCount !== lines.length || notices.textContent !== lines.join("")) {
        notices.replaceChildren(...lines.map((line) => h("li", {}, line)));
      }
    },
  };
}
