// A long list page by page; the address carries which.

import { element, setText } from "./element.js";
import { whole } from "./format.js";

export class Pager {
  constructor(nav, view, size, onTurn) {
    this.view = view;
    this.size = size;
    this.nav = nav;
    this.onTurn = onTurn;
    this.words = element("span", { role: "status" });
    this.back = element("button", { type: "button", onclick: () => this.turn(-1) }, "‹ Previous");
    this.next = element("button", { type: "button", onclick: () => this.turn(1) }, "Next ›");
    nav.replaceChildren(this.back, this.words, this.next);
  }

  get page() {
    return Math.max(1, this.view.step("page") ?? 1);
  }

  get asked() {
    return { limit: this.size, offset: (this.page - 1) * this.size };
  }

  turn(by) {
    this.#go(this.page + by);
    window.scrollTo(0, 0);
    this.onTurn();
  }

  #go(page, options = {}) {
    this.view.set({ page: page <= 1 ? null : String(page) }, options);
  }

  // Shows where in `total` the page is; true where the list has become so short that it has no such page.
  isBeyond(total) {
    const last = Math.max(1, Math.ceil(total / this.size));
    if (this.page > last) {
      this.#go(last, { replace: true });
      return true;
    }
    const first = (this.page - 1) * this.size;
    setText(this.words, `${whole(first + 1)} to ${whole(Math.min(total, first + this.size))} of ${whole(total)}`);
    this.back.disabled = this.page <= 1;
    this.next.disabled = this.page >= last;
    this.nav.hidden = total <= this.size;
    return false;
  }
}
