// How carefully a stage draws: steps, guidance, sampler, and what it avoids.

import { details, number, select, slider, text } from "./fields.js";

const WINDOWS = [
  ["none", "Each frame by itself"],
  ["prv", "Each frame and the one before"],
  ["first", "Each frame and the first"],
  ["roll", "Each frame and its neighbours"],
];

/** "dpmpp_2m_sde" → "DPM++ 2M SDE" */
function samplerName(name) {
  const known = {
    default: "As the server is set",
    published_keyframes: "As published for keyframes",
    published_video: "As published for films",
  };
  if (known[name]) return known[name];
  const words = { dpm2: "DPM2", dpmpp: "DPM++", euler: "Euler", heun: "Heun", unipc: "UniPC", ancestral: "ancestral" };
  return name
    .split("_")
    .map((word) => words[word] ?? word.toUpperCase())
    .join(" ");
}

/** Fields of a stage; settings' names begin with `prefix`. */
function samplingFields(store, prefix) {
  const named = (name) => `${prefix}${name}`;
  const change = (name) => (value) => store.change({ [named(name)]: value });
  const steps = slider({
    id: `pu-${prefix}steps`.replace("_", "-"),
    label: "Care (denoising steps)",
    min: 1,
    max: 50,
    change: change("steps"),
  });
  const guidance = slider({
    id: `pu-${prefix}guidance`.replace("_", "-"),
    label: "Guidance",
    min: 1,
    max: 15,
    step: 0.5,
    text: (value) => (value <= 1 ? "off" : value.toFixed(1)),
    change: change("guidance"),
  });
  const sampler = select({
    id: `pu-${prefix}scheduler`.replace("_", "-"),
    label: "Sampler",
    change: change("scheduler"),
  });
  const negative = text({
    id: `pu-${prefix}negative-prompt`.replace("_", "-"),
    label: "Avoid (only with guidance)",
    change: change("negative_prompt"),
  });
  const skip = number({ label: "Layers of the text encoder left out", min: 0, max: 11, change: change("clip_skip") });
  return {
    steps,
    guidance,
    sampler,
    negative,
    skip,
    update() {
      const { settings, about } = store;
      if (!about) return;
      steps.update(settings[named("steps")], about.limits.steps);
      guidance.update(settings[named("guidance")]);
      sampler.update(
        settings[named("scheduler")],
        about.schedulers.map((name) => [name, samplerName(name)]),
      );
      negative.update(settings[named("negative_prompt")]);
      skip.update(settings[named("clip_skip")]);
    },
  };
}

export function keyframeSampling(store) {
  const fields = samplingFields(store, "");
  const noise = select({ label: "Noise of the keyframes", change: (value) => store.change({ noise: value }) });
  return {
    element: details(
      "Steps, guidance, sampler",
      ...[fields.steps, fields.guidance, fields.sampler, fields.negative, noise, fields.skip].map(
        (field) => field.element,
      ),
    ),
    update() {
      fields.update();
      noise.update(store.settings.noise, [
        ["same", "The same for all, as published"],
        ["independent", "Each its own"],
      ]);
    },
  };
}

export function filmSampling(store) {
  const fields = samplingFields(store, "video_");
  const change = (name) => (value) => store.change({ [name]: value });
  const window = select({ id: "pu-window", label: "Attention window", change: change("attention_window") });
  const prompt = text({ id: "pu-video-prompt", label: "Words for the film", change: change("video_prompt") });
  const rescale = slider({
    label: "Contrast held back",
    min: 0,
    max: 1,
    step: 0.05,
    text: (value) => value.toFixed(2),
    change: change("video_guidance_rescale"),
  });
  const stride = number({ label: "Frame stride", min: 0, max: 100, change: change("frame_stride") });
  return {
    window,
    element: details(
      "Steps, guidance, sampler",
      ...[fields.steps, fields.guidance, fields.sampler, prompt, fields.negative, rescale, stride, fields.skip].map(
        (field) => field.element,
      ),
    ),
    update() {
      const { settings, about } = store;
      fields.update();
      const windows = about?.windows;
      window.update(settings.attention_window, windows ? WINDOWS.filter(([name]) => windows.includes(name)) : WINDOWS);
      prompt.update(settings.video_prompt);
      rescale.update(settings.video_guidance_rescale);
      stride.update(settings.frame_stride);
    },
  };
}
