// The picture with the region that will be kept.

import { h, set } from "./dom.js";
import { region } from "./geometry.js";

const LINE = 2; // pixels about what is kept

export function crop() {
  const image = h("img", { alt: "Your picture", draggable: "false" });
  const kept = h("div.kept", { "aria-hidden": "true" });
  const sheet = h("div.crop", { id: "pu-crop" }, image, kept);
  const element = h("div.crop-room", {}, sheet);
  let latest = null;

  function fit() {
    if (!latest) return;
    const { picture, frame, mode } = latest;
    const kept_ = frame ? region(picture, frame, mode) : { x: 0, y: 0, width: picture.width, height: picture.height };
    // All that is picture or frame, as large as the room allows.
    const left = Math.min(0, kept_.x);
    const top = Math.min(0, kept_.y);
    const width = Math.max(picture.width, kept_.width);
    const height = Math.max(picture.height, kept_.height);
    const room = (side) => side - 2 * LINE;
    const scale = Math.min(room(element.clientWidth) / width, room(element.clientHeight) / height, 2.5);
    if (!Number.isFinite(scale) || scale <= 0) return;
    const px = (value) => `${value * scale}px`;
    set(sheet, { style: { width: px(width), height: px(height) } });
    const put = (node, box) =>
      set(node, {
        style: {
          left: px(box.x - left),
          top: px(box.y - top),
          width: px(box.width),
          height: px(box.height),
        },
      });
    put(image, { x: 0, y: 0, width: picture.width, height: picture.height });
    put(kept, kept_);
    sheet.dataset.mode = mode;
  }

  new ResizeObserver(fit).observe(element);
  return {
    element,
    update(picture, frame, mode) {
      latest = { picture, frame, mode };
      set(image, { src: picture.url });
      fit();
    },
  };
}
