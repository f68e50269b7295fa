// Where a picture lies in a frame, and how shapes and sizes are said.

/**
 * The region of a picture that a frame of another shape shows, in pixels of the picture.
 * With "crop" it lies inside the picture; with "pad" it reaches beyond it, on two sides.
 */
export function region(picture, frame, fit) {
  const choose = fit === "pad" ? Math.min : Math.max;
  const factor = choose(frame.width / picture.width, frame.height / picture.height);
  const width = frame.width / factor;
  const height = frame.height / factor;
  return { x: (picture.width - width) / 2, y: (picture.height - height) / 2, width, height };
}

/** One sentence on what fitting does. */
export function fitSentence(picture, frame, fit) {
  const { width, height } = region(picture, frame, fit);
  const share = (part, whole) => Math.round((100 * Math.abs(whole - part)) / Math.max(part, whole));
  const parts = [
    [share(width, picture.width), "width"],
    [share(height, picture.height), "height"],
  ].filter(([percent]) => percent >= 1);
  if (!parts.length) return "The whole picture is kept.";
  const [[percent, side]] = parts;
  return fit === "pad"
    ? `The whole picture is kept, with white on ${percent} % of the ${side}.`
    : `${percent} % of the ${side} is cut off.`;
}

/** "256 × 320" */
export const sizeText = ({ width, height }) => `${width} × ${height}`;
