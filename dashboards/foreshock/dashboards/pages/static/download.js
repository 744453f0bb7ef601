// A figure as a file: PNG and SVG as it is drawn, CSV as its numbers.

import { get } from "./api.js";
import { csvText, rowsOfFigure, rowsOfMap } from "./csv.js";
import { element, setText } from "./element.js";

const WIDTH = 1200;
const HEIGHT = 560;

// The menu of one card. `subject()` names what is shown ("run, figure"), `mapOf()` gives {where, parameters}
// of the numbers of a map, or null where the figure's own are what it has.
export function downloadMenu(title, chart, { subject, mapOf }) {
  const note = element("p", { class: "menu-note", role: "status", hidden: true });
  const menu = element("details", { class: "menu" });
  const choose = (kind) => async () => {
    note.hidden = true;
    try {
      if (!chart().figure || chart().figure.layout.meta.empty) throw new Error("nothing is drawn yet.");
      await KINDS[kind](chart(), subject(), mapOf());
      menu.open = false;
      menu.querySelector("summary").focus();
    } catch (error) {
      note.hidden = false;
      setText(note, `No file: ${error.message}`);
    }
  };
  const buttons = Object.keys(KINDS).map((kind) => element("button", { type: "button", onclick: choose(kind) }, kind));
  menu.append(
    element("summary", { "aria-label": `Download ${title}`, title: "Download" }, "⤓"),
    element("div", { class: "menu-list" }, buttons, note),
  );
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    event.stopPropagation();
    menu.open = false;
    menu.querySelector("summary").focus();
  });
  menu.addEventListener("focusout", (event) => {
    if (event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false;
  });
  return menu;
}

const KINDS = {
  PNG: (chart, name) => saveImage(chart, name, "png", 2),
  SVG: (chart, name) => saveImage(chart, name, "svg", 1),
  CSV: saveNumbers,
};

async function saveImage(chart, name, format, scale) {
  const { data, layout } = chart.area;
  const surface = getComputedStyle(document.documentElement).getPropertyValue("--surface").trim();
  const ink = getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();
  const words = escaped(`${name}. ${chart.figure.layout.meta.reading ?? ""}`);
  const framed = {
    ...layout,
    paper_bgcolor: surface,
    plot_bgcolor: surface,
    margin: { ...layout.margin, t: 76 },
    title: { text: words, x: 0.01, xanchor: "left", y: 0.98, yanchor: "top", font: { size: 14, color: ink } },
  };
  const size = { width: Math.max(WIDTH, chart.area.clientWidth), height: layout.height ?? HEIGHT };
  const image = await window.Plotly.toImage({ data, layout: framed, config: {} }, { format, scale, ...size });
  save(image, `${fileName(name)}.${format}`);
}

async function saveNumbers(chart, name, map) {
  const rows = map ? rowsOfMap(await get(map.where, map.parameters)) : rowsOfFigure(chart.figure);
  const address = URL.createObjectURL(new Blob(["\ufeff", csvText(rows)], { type: "text/csv" }));
  save(address, `${fileName(name)}.csv`);
  window.setTimeout(() => URL.revokeObjectURL(address), 10000);
}

function save(address, file) {
  element("a", { href: address, download: file }).click();
}

// Plotly reads a little HTML in titles.
function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function fileName(name) {
  return name.replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^[.-]+|-+$/g, "").slice(0, 120) || "figure";
}
