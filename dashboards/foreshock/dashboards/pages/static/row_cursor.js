// The row or card that the keyboard stands on: it survives an update of the list.

export class RowCursor {
  // `target` finds in a row what takes the focus; without it the row itself does.
  constructor(list, selector, target = null) {
    this.list = list;
    this.selector = selector;
    this.target = target;
  }

  get row() {
    const row = document.activeElement?.closest(this.selector);
    return row && this.list.contains(row) ? row : null;
  }

  move(by) {
    const rows = [...this.list.querySelectorAll(this.selector)];
    const here = rows.indexOf(this.row);
    const at = here < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, here + by));
    const row = rows[at];
    if (!row) return;
    (this.target ? row.querySelector(this.target) : row)?.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  }

  press(selector) {
    this.row?.querySelector(selector)?.click();
  }

  // Does `work`, which may replace the row that has the focus, and puts the focus back.
  keep(work) {
    const key = this.row?.dataset.key;
    const tag = document.activeElement?.tagName;
    if (key !== undefined) document.activeElement.blur();
    work();
    if (key === undefined) return;
    const same = [...this.list.querySelectorAll(this.selector)].find((row) => row.dataset.key === key);
    (same?.tagName === tag ? same : same?.querySelector(tag))?.focus({ preventScroll: true });
  }
}
