// Hears from the collector that something is new, and finds it again when it was away.

const KINDS = ["step", "judged", "alert", "run"];
const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 10000;
// Browsers allow six connections to a host, so a tab that nobody sees lets go of its own
const RELEASE_AFTER_MS = 5000;

export class Live {
  constructor(runId = null) {
    this.url = `/api/v1/events${runId === null ? "" : `?run_id=${encodeURIComponent(runId)}`}`;
    this.handlers = { step: [], judged: [], alert: [], run: [], state: [], open: [], back: [] };
    this.state = "connecting";
    this.retry = FIRST_RETRY_MS;
    this.timer = null;
    this.source = null;
    this.release = null;
    document.addEventListener("visibilitychange", () => this.#visibility());
    window.addEventListener("pagehide", () => this.#close());
    this.#open();
  }

  on(kind, handler) {
    this.handlers[kind].push(handler);
    return this;
  }

  #emit(kind, data) {
    for (const handler of this.handlers[kind]) handler(data);
  }

  #become(state) {
    if (state === this.state) return;
    const before = this.state;
    this.state = state;
    this.#emit("state", state);
    if (state === "live" && before === "down") this.#emit("back", null);
  }

  #open() {
    this.#close();
    this.source = new EventSource(this.url);
    this.source.addEventListener("open", () => {
      this.retry = FIRST_RETRY_MS;
      const wasAway = this.state === "down";
      this.#become("live");
      // What came between the page's first look and the first word of the stream would else be missed
      if (!wasAway) this.#emit("open", null);
    });
    this.source.addEventListener("error", () => this.#lost());
    for (const kind of KINDS) {
      this.source.addEventListener(kind, (event) => this.#heard(kind, event));
    }
  }

  #heard(kind, event) {
    try {
      this.#emit(kind, JSON.parse(event.data));
    } catch (error) {
      console.warn(`an event of kind ${kind} could not be read`, error);
    }
  }

  #lost() {
    this.#close();
    this.#become("down");
    if (this.timer !== null) return;
    this.timer = window.setTimeout(() => {
      this.timer = null;
      this.#open();
    }, this.retry);
    this.retry = Math.min(LAST_RETRY_MS, this.retry * 1.6);
  }

  #close() {
    if (this.source) this.source.close();
    this.source = null;
  }

  #visibility() {
    window.clearTimeout(this.release);
    if (document.hidden) {
      this.release = window.setTimeout(() => this.#close(), RELEASE_AFTER_MS);
    } else if (!this.source && this.timer === null) {
      this.#open();
      this.#emit("back", null);
    }
  }
}
