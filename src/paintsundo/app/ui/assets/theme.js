// Dark and light: as the system says, or as the visitor chose here.

import { h, set } from "./dom.js";
import { icon } from "./icons.js";

const KEY = "paintsundo-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

export function themeButton() {
  const button = h("button.icon-button", { id: "pu-theme", type: "button" });
  let chosen = null;
  try {
    chosen = localStorage.getItem(KEY);
  } catch {
    // Without storage, a choice lasts as long as the page.
  }
  const apply = () => {
    const theme = chosen ?? (system.matches ? "dark" : "light");
    document.documentElement.dataset.theme = theme;
    // Gradio's own parts follow this class.
    document.body?.classList.toggle("dark", theme === "dark");
    const label = theme === "dark" ? "Light" : "Dark";
    set(button, { title: label, "aria-label": `${label} colours` });
    button.replaceChildren(icon(theme === "dark" ? "sun" : "moon"));
  };
  button.addEventListener("click", () => {
    chosen = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    apply();
    try {
      localStorage.setItem(KEY, chosen);
    } catch {
      // As above.
    }
  });
  system.addEventListener("change", apply);
  apply();
  return button;
}
