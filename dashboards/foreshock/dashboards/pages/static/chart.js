// One card with one figure: fetched from the collector, drawn by plotly, told in words and as a table.

import { ApiError, get } from "./api.js";
import { element, setText } from "./element.js";
import { onThemeChange, paint } from "./theme.js";

const CONFIG = {
  displaylogo: false,
  responsive: true,
  doubleClick: "autosize",
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d", "pan2d", "zoom2d"],
};
const COARSE = window.matchMedia("(pointer: coarse)");

export class Chart {
  // `source()` gives {where, parameters, start, stop}; `onZoom(start, stop)` hears of a drag, or of nulls.
  constructor(card, source, onZoom = null) {
    this.card = card;
    this.name = card.dataset.figure;
    this.source = source;
    this.onZoom = onZoom;
    this.visible = false;
    this.stale = true;
    this.figure = null;
    this.abort = null;
    this.box = card.querySelector(".plot");
    this.note = card.querySelector(".plot-note");
    this.area = element("div", { role: "img", hidden: true });
    this.area.style.height = "100%";
    this.box.append(this.area);
    this.reading = card.querySelector(".reading");
    this.numbers = card.querySelector(".numbers");
    this.numbers.addEventListener("toggle", () => this.#fillTable());
    new IntersectionObserver((entries) => this.#seen(entries.at(-1).isIntersecting), {
      rootMargin: "200px",
    }).observe(card);
    onThemeChange(() => this.draw());
  }

  #seen(visible) {
    this.visible = visible;
    if (visible && this.stale) this.refresh();
  }

  async refresh() {
    this.stale = true;
    if (!this.visible) return;
    if (this.abort) this.abort.abort();
    const abort = new AbortController();
    this.abort = abort;
    const { where, parameters } = this.source();
    this.card.dataset.busy = "";
    try {
      const figure = await get(where, parameters, abort.signal);
      if (this.abort !== abort) return;
      this.figure = figure;
      this.stale = false;
      this.draw();
    } catch (error) {
      if (error.name !== "AbortError") this.#fail(error);
    } finally {
      if (this.abort === abort) {
        this.abort = null;
        delete this.card.dataset.busy;
      }
    }
  }

  // An error does not wipe a drawing that is still true; the page's notice tells that it is old.
  #fail(error) {
    if (error instanceof ApiError && error.unreachable && this.figure) return;
    this.#say(error instanceof ApiError ? error.message : `This figure could not be drawn: ${error.message}`, true);
  }

  #say(text, isError = false) {
    this.note.hidden = false;
    this.area.hidden = true;
    setText(this.note, text);
    this.note.toggleAttribute("data-error", isError);
  }

  draw() {
    if (!this.figure) return;
    const { data, layout } = paint(this.figure);
    const meta = this.figure.layout.meta;
    setText(this.reading, meta.empty ? "" : meta.reading);
    this.area.setAttribute("aria-label", `${meta.title}. ${meta.reading}`);
    if (meta.empty) {
      this.#say(meta.reading);
      return;
    }
    this.note.hidden = true;
    this.area.hidden = false;
    this.#frame(layout);
    const first = !this.area.classList.contains("js-plotly-plot");
    window.Plotly.react(this.area, data, layout, CONFIG);
    if (first) this.#listen();
    this.#fillTable();
  }

  #frame(layout) {
    const { start, stop } = this.source();
    if (this.card.dataset.shape === "steps" && start !== null && stop !== null) {
      layout.xaxis = { ...layout.xaxis, range: [start, stop], autorange: false };
    }
    layout.xaxis.uirevision = `${start} ${stop}`;
    if (COARSE.matches) layout.dragmode = false;
    if (layout.height) this.area.style.height = `${layout.height}px`;
  }

  #listen() {
    this.area.on("plotly_relayout", (change) => {
      if (!this.onZoom) return;
      const range = change["xaxis.range"] ?? [change["xaxis.range[0]"], change["xaxis.range[1]"]];
      if (change["xaxis.autorange"]) this.onZoom(null, null);
      else if (Number.isFinite(Number(range[0])) && Number.isFinite(Number(range[1]))) {
        const start = Math.max(0, Math.floor(range[0]));
        this.onZoom(start, Math.max(start + 1, Math.ceil(range[1])));
      }
    });
  }

  #fillTable() {
    if (!this.numbers.open || !this.figure) return;
    const { columns, rows } = this.figure.layout.meta.table;
    const head = element("tr", {}, columns.map((name) => element("th", { scope: "col" }, name)));
    const body = rows.map((row) => element("tr", {}, row.map((cell) => element("td", {}, cell))));
    this.numbers.querySelector("table").replaceChildren(element("thead", {}, head), element("tbody", {}, body));
  }
}
