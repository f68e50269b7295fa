// What can be taken home of a finished film.

import { api } from "./api.js";
import { h, set, show, tell } from "./dom.js";
import { icon } from "./icons.js";

const KINDS = [
  ["mp4", "MP4", "film"],
  ["webp", "WebP", "animation, sharp"],
  ["gif", "GIF", "animation, anywhere"],
  ["zip", "PNG", "every frame, zipped"],
  ["ora", "Layers", "OpenRaster, a layer for each keyframe"],
  ["sheet", "Sheet", "all on one picture"],
];

export function downloads(store) {
  const links = KINDS.map(([kind, name, what]) =>
    h(
      "a.download",
      { id: `pu-download-${kind}`, download: "" },
      icon("download"),
      h("span.download-name", {}, name),
      h("span.download-what", {}, what),
    ),
  );
  const record = h("a.link", { id: "pu-download-run", download: "run.json" }, "run.json: how it was made");
  const words = h("p.hint");
  for (const link of links) link.addEventListener("click", (event) => fetchFile(event, link, store));
  const element = h("section.group", {}, h("h2", {}, "Take it home"), h("div.downloads", {}, links), words, record);
  return {
    element,
    update() {
      const { run, status } = store;
      const finished = Boolean(status?.has_film) && !store.busy;
      show(element, Boolean(status?.has_film));
      if (!run) return;
      KINDS.forEach(([kind], index) =>
        set(links[index], {
          href: finished ? api.exportUrl(run.id, kind) : null,
          "aria-disabled": finished ? null : "true",
        }),
      );
      set(record, { href: finished ? api.recordUrl(run.id) : null });
      tell(words, finished ? "" : "The film is being made anew.");
      show(words, !finished);
    },
  };
}

// Some files are made at first asking: the link says so meanwhile, and a refusal becomes a sentence.
async function fetchFile(event, link, store) {
  event.preventDefault();
  if (!link.href || link.classList.contains("working")) return;
  link.classList.add("working");
  try {
    const response = await fetch(link.href, { credentials: "same-origin" });
    if (!response.ok) {
      const answer = await response.json().catch(() => null);
      throw new Error(answer?.error || "This file could not be made.");
    }
    const name = /filename="?([^";]+)"?/.exec(response.headers.get("content-disposition") ?? "")?.[1];
    const url = URL.createObjectURL(await response.blob());
    const anchor = h("a", { href: url, download: name ?? "" });
    anchor.click();
    setTimeout(() => URL.revokeObjectURL(url), 60000);
  } catch (error) {
    store.fail(error instanceof TypeError ? new Error("The server does not answer.") : error);
  } finally {
    link.classList.remove("working");
  }
}
