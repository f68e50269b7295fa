// Tags as chips: written, mended, taken out, put in another order; by pointer or by keyboard.

import { h, Keyed, tell } from "./dom.js";
import { icon } from "./icons.js";
import { join, split } from "./words.js";

const ENTRY = Symbol("entry");

/** `change(prompt)` is called with the whole prompt. */
export function chips({ id, label, change }) {
  const list = h("ul.chips", { id, "aria-label": label });
  const entry = h("input.chip-entry", {
    id: `${id}-entry`,
    type: "text",
    placeholder: "Add a word",
    "aria-label": "Add a word",
    autocomplete: "off",
    autocapitalize: "none",
    spellcheck: "false",
  });
  const place = h("li.chip-place", {}, entry);
  let tags = [];

  const put = (next) => {
    tags = [...new Set(next)];
    draw();
    change(join(tags));
  };
  const take = (index) => {
    put(tags.filter((_, other) => other !== index));
    (list.querySelectorAll(".chip-word")[Math.min(index, tags.length - 1)] ?? entry).focus();
  };
  const shift = (index, by) => {
    const to = index + by;
    if (to < 0 || to >= tags.length) return;
    const next = [...tags];
    next.splice(to, 0, ...next.splice(index, 1));
    put(next);
    list.querySelectorAll(".chip-word")[to]?.focus();
  };
  const enter = () => {
    const words = split(entry.value);
    if (!words.length) return;
    entry.value = "";
    put([...tags, ...words]);
  };

  const keyed = new Keyed(list, (tag) => {
    if (tag === ENTRY) return { element: place, update: () => {} };
    const index = () => tags.indexOf(tag);
    const word = h("button.chip-word", { type: "button", title: "Click to change; Alt and arrow keys move it" });
    const cross = h("button.chip-cross", { type: "button", "aria-label": `Take out ${tag}` }, icon("cross"));
    const element = h("li.chip", {}, word, cross);
    tell(word, tag);
    cross.addEventListener("click", () => take(index()));
    word.addEventListener("click", () => {
      const kept = tags.filter((other) => other !== tag);
      entry.value = tag;
      put(kept);
      entry.focus();
      entry.select();
    });
    word.addEventListener("keydown", (event) => {
      if (event.key === "Delete" || event.key === "Backspace") take(index());
      else if (event.altKey && event.key === "ArrowLeft") shift(index(), -1);
      else if (event.altKey && event.key === "ArrowRight") shift(index(), 1);
      else return;
      event.preventDefault();
    });
    return { element, update: () => {} };
  });
  function draw() {
    // The entry is one of the keyed, so that it is never taken out of the page while somebody types in it.
    keyed.update([...tags.map((tag) => [tag, tag]), [ENTRY, null]]);
  }

  entry.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === ",") {
      enter();
      event.preventDefault();
    } else if (event.key === "Backspace" && !entry.value && tags.length) {
      put(tags.slice(0, -1));
      event.preventDefault();
    }
  });
  entry.addEventListener("change", enter);
  entry.addEventListener("paste", () => setTimeout(() => entry.value.includes(",") && enter()));

  return {
    element: list,
    update(prompt) {
      const next = split(prompt ?? "");
      if (next.join("\n") !== tags.join("\n")) tags = next;
      draw();
    },
  };
}
