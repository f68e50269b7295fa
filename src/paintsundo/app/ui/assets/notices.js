// Sentences that come and go: what went wrong (stays until it is closed), and what is finished.

import { h } from "./dom.js";
import { iconButton } from "./fields.js";

const NEWS_MS = 4000;

export function notices(store) {
  const troubles = h("div.notice-list", { id: "pu-error", role: "alert" });
  const news = h("div.notice-list", { id: "pu-news", role: "status" });

  function put(list, kind, sentence) {
    for (const other of list.children) if (other.dataset.sentence === sentence) return other;
    const element = h(`div.notice.${kind}`, { "data-sentence": sentence }, h("p", {}, sentence));
    if (kind === "trouble") element.append(iconButton("cross", "Close", () => element.remove()));
    list.append(element);
    while (list.children.length > 3) list.firstElementChild.remove();
    return element;
  }

  store.addEventListener("trouble", (event) => put(troubles, "trouble", event.sentence));
  store.addEventListener("news", (event) => {
    const element = put(news, "news", event.sentence);
    element.classList.toggle("unseen", event.seen);
    setTimeout(() => element.remove(), NEWS_MS);
  });
  // Once the server answers again, that it did not is history.
  store.addEventListener("reached", () => {
    for (const element of troubles.children)
      if (element.dataset.sentence.startsWith("The server does not answer")) element.remove();
  });
  return { element: h("div.notices", {}, troubles, news) };
}
