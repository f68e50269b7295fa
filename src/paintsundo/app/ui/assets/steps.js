// Operation steps: 999 is the first stroke, 0 the finished picture. The timeline runs as time does, from left (999)
// to right (0).

export const FIRST_STROKE = 999;

const CURVES = {
  uniform: (share) => share,
  blank_heavy: (share) => 1 - (1 - share) ** 2,
  finished_heavy: (share) => share ** 2,
};

export const PRESETS = [
  ["uniform", "Even"],
  ["blank_heavy", "Early strokes"],
  ["finished_heavy", "Last touches"],
];

/** Steps of a preset, ascending; the same as the command line's `keyframes.placement`. */
export function placed(preset, count) {
  const curve = CURVES[preset];
  const steps = [];
  for (let index = 1; index <= count; index++) {
    steps.push(Math.min(Math.max(evenRound(1000 * curve(index / (count + 1))), 1), FIRST_STROKE));
  }
  return tidy(steps);
}

/** Ascending, each once, whole, within 0…999. */
export function tidy(steps) {
  return [...new Set(steps.map((step) => clamp(Math.round(step))))].sort((a, b) => a - b);
}

/** The steps with one of them moved; it stops beside its neighbours rather than swallowing them. */
export function moved(steps, index, to) {
  const others = new Set(steps.filter((_, other) => other !== index));
  let step = clamp(Math.round(to));
  const direction = step >= steps[index] ? -1 : 1;
  while (others.has(step) && step !== steps[index]) step += direction;
  return { steps: tidy([...others, step]), step };
}

/** A step in the middle of the widest gap, ends included. */
export function widestGap(steps) {
  const edges = [-1, ...steps, FIRST_STROKE + 1];
  let best = 0;
  for (let index = 1; index < edges.length - 1; index++) {
    if (edges[index + 1] - edges[index] > edges[best + 1] - edges[best]) best = index;
  }
  return clamp(Math.round((edges[best] + edges[best + 1]) / 2));
}

/** Share of the track's width, from the left. */
export const place = (step) => 1 - step / FIRST_STROKE;

/** The step at a share of the track's width. */
export const stepAt = (share) => clamp(Math.round((1 - share) * FIRST_STROKE));

/** Numbers in free text, with what is wrong with them: { steps } or { problem }. */
export function parse(text, most) {
  const words = text.split(/[\s,;]+/).filter(Boolean);
  const odd = words.find((word) => !/^\d{1,3}$/.test(word));
  if (odd !== undefined) return { problem: `“${odd}” is not an operation step: whole numbers from 0 to 999 are.` };
  const steps = tidy(words.map(Number));
  if (!steps.length) return { problem: "At least one operation step is needed." };
  if (steps.length > most) return { problem: `At most ${most} keyframes can be drawn at once.` };
  return { steps };
}

/** What a keyframe is called. */
export function nameOf(keyframe) {
  if (keyframe.origin === "blank") return "Blank canvas";
  if (keyframe.origin === "picture") return "Finished";
  if (keyframe.operation_step === null) return "Your own";
  return `Step ${keyframe.operation_step}`;
}

const clamp = (step) => Math.min(Math.max(step, 0), FIRST_STROKE);

// Halves go to the even neighbour, as Python's round.
function evenRound(value) {
  const down = Math.floor(value);
  const rest = value - down;
  if (rest !== 0.5) return Math.round(value);
  return down % 2 ? down + 1 : down;
}
