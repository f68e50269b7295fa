// Pictures dropped on the page or pasted into it.

/** Calls `take(file)` with the first picture of a drop or a paste anywhere on the page. */
export function pictureFrom(target, take) {
  target.addEventListener("paste", (event) => {
    const file = firstPicture(event.clipboardData);
    // Text that was copied with a picture of itself is text where one writes.
    const writes = event.target.matches?.("input, textarea") && event.clipboardData.types.includes("text/plain");
    if (!file || writes) return;
    event.preventDefault();
    take(file);
  });
  let depth = 0;
  const dragging = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const mark = () => document.documentElement.classList.toggle("dragging", depth > 0);
  target.addEventListener("dragenter", (event) => {
    if (!dragging(event)) return;
    depth++;
    mark();
  });
  target.addEventListener("dragleave", (event) => {
    if (!dragging(event)) return;
    depth = Math.max(0, depth - 1);
    mark();
  });
  target.addEventListener("dragover", (event) => dragging(event) && event.preventDefault());
  target.addEventListener("drop", (event) => {
    if (!dragging(event)) return;
    event.preventDefault();
    depth = 0;
    mark();
    const file = firstPicture(event.dataTransfer);
    if (file) take(file);
  });
}

function firstPicture(transfer) {
  const files = [...(transfer?.files ?? [])];
  // What is no picture goes on too: the server says so in a sentence.
  return files.find((file) => file.type.startsWith("image/")) ?? files[0] ?? null;
}

/** Let somebody choose a picture file; null if they do not. */
export function chooseFile(accept) {
  return new Promise((resolve) => {
    const input = Object.assign(document.createElement("input"), { type: "file", accept });
    input.addEventListener("change", () => resolve(input.files[0] ?? null));
    input.addEventListener("cancel", () => resolve(null));
    input.click();
  });
}
