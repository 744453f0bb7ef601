// One card with one figure: fetched from the collector, drawn by plotly, told in words and as a table.

import { ApiError, getNewer } from "./api.js";
import { element, setText } from "./element.js";
import { apply } from "./patch.js";
import { plotly } from "./plotly.js";
import { placeOf, stepOf } from "./ruler.js";
import { onThemeChange, paint } from "./theme.js";

const CONFIG = {
  displaylogo: false,
  responsive: true,
  doubleClick: "autosize",
  // The first of them would upload the chart to an outside host
  plotlyServerURL: "",
  modeBarButtonsToRemove: ["sendChartToCloud", "select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d", "pan2d", "zoom2d"],
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
    this.tag = null;
    this.shown = null;
    this.abort = null;
    this.box = card.querySelector(".plot");
    this.note = card.querySelector(".plot-note");
    this.area = element("div", { role: "figure", hidden: true });
    this.area.style.height = "100%";
    this.box.append(this.area);
    this.reading = card.querySelector(".reading");
    this.numbers = card.querySelector(".numbers");
    this.numbers.addEventListener("toggle", () => this.#fillTable());
    new IntersectionObserver((entries) => this.#seen(entries.at(-1).isIntersecting), {
      rootMargin: "200px",
    }).observe(card);
    onThemeChange(() => {
      this.shown = null;
      this.draw();
    });
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
      const { status, tag, body } = await getNewer(where, parameters, this.tag, abort.signal);
      if (this.abort !== abort) return;
      if (status !== 304) this.figure = status === 226 ? apply(this.figure, body) : body;
      this.tag = tag;
      this.stale = false;
      await this.draw();
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
    this.shown = null;
    this.note.hidden = false;
    this.area.hidden = true;
    setText(this.note, text);
    this.note.toggleAttribute("data-error", isError);
  }

  async draw() {
    const Plotly = await plotly();
    if (!this.figure) return;
    const { start, stop } = this.source();
    // What stands already is not drawn again
    const wanted = `${this.tag} ${start} ${stop}`;
    if (this.shown === wanted) return;
    this.shown = wanted;
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
    Plotly.react(this.area, data, layout, CONFIG);
    if (first) this.#listen();
    this.#fillTable();
    this.card.dispatchEvent(new CustomEvent("drawn", { bubbles: true, detail: this }));
  }

  #frame(layout) {
    const { start, stop } = this.source();
    if (this.card.dataset.shape === "steps" && start !== null && stop !== null) {
      layout.xaxis = { ...layout.xaxis, range: [start, stop].map((step) => placeOf(this.figure, step)), autorange: false };
    }
    layout.xaxis.uirevision = `${start} ${stop} ${this.figure.layout.meta.axis?.kind}`;
    if (COARSE.matches) layout.dragmode = false;
    // The card grows with the figure, or what stands beneath would be covered
    this.box.style.height = layout.height ? `${layout.height}px` : "";
  }

  #listen() {
    this.area.on("plotly_relayout", (change) => {
      if (!this.onZoom) return;
      const range = change["xaxis.range"] ?? [change["xaxis.range[0]"], change["xaxis.range[1]"]];
      if (change["xaxis.autorange"]) this.onZoom(null, null);
      else if (Number.isFinite(Number(range[0])) && Number.isFinite(Number(range[1]))) {
        const [from, to] = range.map((place) => stepOf(this.figure, Number(place)));
        const start = Math.max(0, Math.floor(from));
        this.onZoom(start, Math.max(start + 1, Math.ceil(to)));
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
