// What the page knows: what can be chosen, the open run, the visitor's other runs; kept fresh while a run works.

import { api, Unreachable } from "./api.js";

const BUSY_MS = 450;
const CALM_MS = 4000;
const TYPING_MS = 350;

export class Store extends EventTarget {
  about = null;
  run = null; // { id, name, picture: {url, width, height}, settings, status }
  runs = [];
  view = "picture"; // picture | keyframes | film | runs
  tagging = false;
  #pending = {};
  #saving = Promise.resolve();
  #typing = null;
  #watch = null;

  get settings() {
    return this.run?.settings ?? this.about?.defaults ?? {};
  }

  get status() {
    return this.run?.status ?? null;
  }

  get busy() {
    return isBusy(this.status);
  }

  /** Whether all keyframes are there, and nothing is being drawn. */
  get ready() {
    const keyframes = this.status?.keyframes ?? [];
    return !this.busy && keyframes.length > 1 && keyframes.every((keyframe) => keyframe.done);
  }

  get model() {
    return this.about?.models.find((model) => model.name === this.settings.model) ?? null;
  }

  changed() {
    this.dispatchEvent(new Event("change"));
  }

  fail(error) {
    this.dispatchEvent(Object.assign(new Event("trouble"), { sentence: error.message }));
  }

  /** Tell some news; `seen`: the page shows it already, so that it is only read out. */
  say(sentence, seen = false) {
    this.dispatchEvent(Object.assign(new Event("news"), { sentence, seen }));
  }

  /** Do something on the server; its answer, where it is a run, becomes the open one. Errors are told. */
  async act(action) {
    try {
      const answer = await action();
      if (answer?.settings && answer?.status) this.take(answer);
      return answer;
    } catch (error) {
      this.fail(error);
      return null;
    }
  }

  /** Do something with the open run, what was typed before saved first. */
  async actOnRun(action) {
    if (!this.run) return null;
    const { id } = this.run;
    if (!(await this.save())) return null;
    const answer = await this.act(() => action(id));
    this.watch(0);
    return answer;
  }

  take(run) {
    if (this.run && this.run.id !== run.id) this.#forget();
    const settings = { ...run.settings, ...this.#pending };
    this.run = { ...run, settings };
    this.changed();
    this.watch();
  }

  go(view) {
    this.view = view;
    this.dispatchEvent(new Event("go"));
    this.changed();
    if (view === "runs") this.list();
  }

  close() {
    this.#forget();
    this.run = null;
    this.changed();
  }

  async open(id) {
    const run = await this.act(() => api.open(id));
    return run !== null;
  }

  async list() {
    const runs = await this.act(api.runs);
    if (runs) this.runs = runs;
    this.changed();
  }

  /** Change settings of the open run: shown at once, sent when typing pauses. */
  change(settings) {
    if (!this.run) return;
    Object.assign(this.#pending, settings);
    this.run = { ...this.run, settings: { ...this.run.settings, ...settings } };
    this.changed();
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => this.save(), TYPING_MS);
  }

  /** Send what was changed; false where the server refused it. */
  save() {
    clearTimeout(this.#typing);
    this.#saving = this.#saving.then(() => this.#send());
    return this.#saving;
  }

  async #send() {
    if (!this.run || !Object.keys(this.#pending).length) return true;
    const { id } = this.run;
    const sent = this.#pending;
    this.#pending = {};
    try {
      const run = await api.change(id, sent);
      if (this.run?.id === id) this.take(run);
      return true;
    } catch (error) {
      this.fail(error);
      if (error instanceof Unreachable) this.#pending = { ...sent, ...this.#pending };
      else if (this.run?.id === id) await this.open(id);
      return false;
    }
  }

  /** Look at the run again, after a while, and again. */
  watch(delay = this.busy ? BUSY_MS : CALM_MS) {
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => this.#look(), document.hidden ? Math.max(delay, CALM_MS / 2) : delay);
  }

  async #look() {
    if (!this.run) return;
    const { id } = this.run;
    try {
      const status = await api.status(id);
      if (this.run?.id !== id) return;
      const before = this.status;
      if (status.revision !== before.revision || status.stage !== before.stage || isBusy(status)) {
        this.run = { ...this.run, status };
        this.changed();
      }
      if (isBusy(before) && !isBusy(status)) this.#settled(status);
      this.dispatchEvent(new Event("reached"));
    } catch (error) {
      if (error.status === 404 && this.run?.id === id) this.close();
      this.fail(error);
    }
    this.watch();
  }

  #settled(status) {
    if (status.stage === "cancelled" || status.stage === "interrupted") return; // the page shows it where it stopped
    if (status.stage === "failed") this.fail(new Error(status.error || status.message || "The run failed."));
    else if (status.stage === "done" && status.has_film) this.say("The film is finished.", this.view === "film");
    else if (this.ready) this.say("The keyframes are ready.", this.view === "keyframes");
  }

  #forget() {
    clearTimeout(this.#typing);
    clearTimeout(this.#watch);
    this.#pending = {};
  }
}

export const isBusy = (status) => ["queued", "keyframes", "film"].includes(status?.stage);
