// The card of one figure: its title, what it says, its tools, its drawing, its numbers.

import { element } from "./element.js";

// `entry` is one of the catalogue's; `tools` are nodes that stand beside the title.
export function figureCard(entry, tools) {
  const title = `title-${entry.name}`;
  const isWide = entry.options.includes("series");
  return element(
    "section",
    {
      class: isWide ? "card figure wide" : "card figure",
      "data-figure": entry.name,
      "data-shape": entry.over,
      "aria-labelledby": title,
      tabindex: -1,
    },
    element(
      "header",
      {},
      element("h2", { id: title }, entry.title),
      element("p", { class: "reading", "aria-live": "off" }),
      element("div", { class: "tools" }, tools),
    ),
    element("div", { class: "plot" }, element("p", { class: "plot-note" }, entry.help)),
    element(
      "details",
      { class: "numbers" },
      element("summary", {}, "Numbers"),
      element("p", { class: "help" }, entry.help),
      element("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": `Numbers of ${entry.title}` }, element("table")),
    ),
  );
}
