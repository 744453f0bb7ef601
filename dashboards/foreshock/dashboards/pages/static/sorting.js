// By which column a table is sorted: a press on its head, or a choice where heads are not shown.

import { element } from "./element.js";

// What is worst, newest or farthest stands on top first.
const RISING_FIRST = new Set(["name", "project", "state", "seed", "headroom"]);

export class Sorting {
  constructor(table, select, view, onChange) {
    this.heads = [...table.querySelectorAll("th[data-sort]")];
    this.select = select;
    this.view = view;
    this.onChange = onChange;
    for (const head of this.heads) {
      const press = () => this.#choose(head.dataset.sort, this.#turned(head.dataset.sort));
      const button = element("button", { type: "button", class: "sort", title: head.title || null, onclick: press });
      button.append(...head.childNodes);
      head.removeAttribute("title");
      head.append(button);
    }
    select.addEventListener("change", () => this.#choose(...select.value.split(" ")));
    this.show();
  }

  get asked() {
    return { sort: this.view.get("sort", "started"), order: this.view.get("order", "desc") };
  }

  #turned(name) {
    const { sort, order } = this.asked;
    if (sort === name) return order === "asc" ? "desc" : "asc";
    return RISING_FIRST.has(name) ? "asc" : "desc";
  }

  #choose(sort, order) {
    const isFirst = sort === "started" && order === "desc";
    this.view.set({ sort: isFirst ? null : sort, order: isFirst ? null : order, page: null });
    this.show();
    this.onChange();
  }

  show() {
    const { sort, order } = this.asked;
    for (const head of this.heads) {
      if (head.dataset.sort === sort) head.setAttribute("aria-sort", order === "asc" ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    }
    const value = `${sort} ${order}`;
    if (![...this.select.options].some((option) => option.value === value)) {
      this.select.append(element("option", { value }, `${sort}, ${order === "asc" ? "rising" : "falling"}`));
    }
    this.select.value = value;
  }
}
