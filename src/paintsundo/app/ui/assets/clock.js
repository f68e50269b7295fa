// The position of a film that plays, without anything to show it.

export const SPEEDS = [0.25, 0.5, 1, 2, 4, 8];

/** Plays over frame numbers 0…last; `direction` 1 paints (redo), -1 takes back (undo). */
export class Clock {
  constructor(fps = 4) {
    this.fps = fps;
    this.last = 0;
    this.position = 0;
    this.speed = 1;
    this.direction = 1;
    this.playing = false;
  }

  get frame() {
    return Math.min(this.last, Math.max(0, Math.floor(this.position + 1e-9)));
  }

  play() {
    if (this.direction > 0 && this.frame >= this.last) this.position = 0;
    if (this.direction < 0 && this.frame <= 0) this.position = this.last;
    this.playing = this.last > 0;
  }

  pause() {
    this.position = this.frame;
    this.playing = false;
  }

  seek(frame) {
    this.position = Math.min(this.last, Math.max(0, frame));
  }

  /** Go on by some seconds; stops at the end. */
  advance(seconds) {
    if (!this.playing) return;
    this.position += this.direction * this.speed * this.fps * seconds;
    if (this.position >= this.last && this.direction > 0) this.#stopAt(this.last);
    if (this.position <= 0 && this.direction < 0) this.#stopAt(0);
  }

  #stopAt(frame) {
    this.position = frame;
    this.playing = false;
  }
}

/** "1:05" */
export function clockText(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** "about 2 minutes left" */
export function timeLeft(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 1.5) return "a moment left";
  if (seconds < 55) return `about ${Math.round(seconds)} seconds left`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return minutes <= 1 ? "about a minute left" : `about ${minutes} minutes left`;
  const hours = seconds / 3600;
  return `about ${hours < 1.5 ? "an hour" : `${Math.round(hours)} hours`} left`;
}
