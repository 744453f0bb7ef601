// What stands beside a figure's title: its series, its scale, and the file that it can become.

import { chooseScale, DEFAULT_MAP, scaleOf } from "./choices.js";
import { downloadMenu } from "./download.js";
import { element } from "./element.js";

export class FigureTools {
  // `subject()` names the run in files; `mapWhere` is where the numbers of maps are asked for.
  constructor(view, { subject, mapWhere }) {
    this.view = view;
    this.subject = subject;
    this.mapWhere = mapWhere;
    this.series = [];
  }

  // The tools of one card; `chart()` is its chart.
  of(entry, chart) {
    const takes = (option) => entry.options.includes(option);
    const tools = [];
    if (takes("series")) tools.push(this.#seriesChoice(chart));
    if (takes("log_y")) tools.push(this.#scaleChoice(entry, chart));
    const subject = () => `${this.subject()}, ${entry.title}`;
    const mapOf = () => (takes("series") ? { where: this.mapWhere, parameters: mapParameters(chart()) } : null);
    tools.push(downloadMenu(entry.title, chart, { subject, mapOf }));
    return tools;
  }

  #seriesChoice(chart) {
    const select = element("select", { id: "map-series" });
    select.addEventListener("change", () => {
      this.view.set({ map: select.value === DEFAULT_MAP ? null : select.value });
      chart().refresh();
    });
    this.select = select;
    this.showSeries(this.series);
    return element("label", {}, element("span", { class: "visually-hidden" }, "Series of the map"), select);
  }

  // The per-layer series of the run, by name.
  showSeries(names) {
    const asked = this.view.get("map", DEFAULT_MAP);
    this.series = names;
    if (!this.select) return;
    if (this.select.options.length !== names.length) {
      this.select.replaceChildren(...names.map((name) => element("option", { value: name }, name)));
    }
    this.select.value = asked;
  }

  #scaleChoice(entry, chart) {
    const box = element("input", { type: "checkbox", "data-scale": entry.name });
    box.checked = scaleOf(this.view, entry.name) === true;
    box.addEventListener("change", () => {
      chooseScale(this.view, entry.name, box.checked);
      chart().refresh();
    });
    return element("label", { class: "check" }, box, "log");
  }

  // Ticks follow what is drawn, whoever chose it.
  showScale(chart) {
    const box = chart.card.querySelector("[data-scale]");
    if (box) box.checked = chart.area.layout.yaxis.type === "log";
  }
}

function mapParameters(chart) {
  const { series, start, stop, attempt, buckets } = chart.source().parameters;
  return { series, start, stop, attempt, buckets };
}
