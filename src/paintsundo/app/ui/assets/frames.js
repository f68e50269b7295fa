// Which frames of a film there are while its pairs are still being made.

/**
 * Pairs count from the finished end, frames from the blank one.
 * Gives { total, pieces: [[from, to, done], …] in the film's order, places: [[frame, keyframe], …] }.
 */
export function layout(status) {
  const keyframes = status.keyframes ?? [];
  const pairs = status.pairs_done ?? [];
  const total = status.frames_total || status.frames || 0;
  if (!pairs.length || !total) return { total, pieces: total ? [[0, total - 1, true]] : [], places: [] };
  const per = total / pairs.length;
  const pieces = pairs.map((done, pair) => [
    Math.round(total - (pair + 1) * per),
    Math.round(total - 1 - pair * per),
    done || status.has_film,
  ]);
  const places = keyframes.map((keyframe, index) => [Math.max(0, Math.round(total - 1 - index * per)), keyframe]);
  return { total, pieces: pieces.reverse(), places: places.reverse() };
}

/** Marks beneath the film: [[frame, operation step], …] of the keyframes that have one. */
export const marks = (places) => places.map(([frame, keyframe]) => [frame, keyframe.operation_step ?? ""]);

/** Whether a frame can be looked at. */
export const isThere = (pieces, frame) => pieces.some(([from, to, done]) => done && frame >= from && frame <= to);

/** Operation steps of all frames, between those of the keyframes; an upload takes its place between its neighbours. */
export function operationSteps(places, total) {
  const known = places
    .map(([frame, { operation_step: step, origin }]) => [
      frame,
      origin === "blank" ? 999 : origin === "picture" ? 0 : step,
    ])
    .filter(([, step]) => step !== null && step !== undefined);
  if (known.length < 2) return null;
  return Array.from({ length: total }, (_, frame) => {
    const right = known.findIndex(([at]) => at >= frame);
    if (right <= 0) return known[right === 0 ? 0 : known.length - 1][1];
    const [from, before] = known[right - 1];
    const [to, after] = known[right];
    return before + ((after - before) * (frame - from)) / Math.max(1, to - from);
  });
}
