// Runs one piece of work at most once in an interval, never twice at a time, and not in a hidden tab.

export class Pulse {
  constructor(work, interval = 1000) {
    this.work = work;
    this.interval = interval;
    this.wanted = false;
    this.running = false;
    // The first piece does not wait: the page is empty until then
    this.last = Number.NEGATIVE_INFINITY;
    this.timer = null;
    this.paused = false;
    document.addEventListener("visibilitychange", () => this.#schedule());
  }

  beat() {
    this.wanted = true;
    this.#schedule();
  }

  pause(paused) {
    this.paused = paused;
    this.#schedule();
  }

  #schedule() {
    if (!this.wanted || this.running || this.paused || document.hidden || this.timer !== null) return;
    const wait = Math.max(0, this.last + this.interval - performance.now());
    this.timer = window.setTimeout(() => this.#run(), wait);
  }

  async #run() {
    this.timer = null;
    if (document.hidden || this.paused) return;
    this.wanted = false;
    this.running = true;
    this.last = performance.now();
    try {
      await this.work();
    } finally {
      this.running = false;
      this.#schedule();
    }
  }
}
