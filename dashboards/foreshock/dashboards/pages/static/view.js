// What the page shows, kept in the address, so that a link and the back button carry it.

export class View {
  constructor() {
    this.handlers = [];
    this.#read();
    window.addEventListener("popstate", () => {
      this.#read();
      for (const handler of this.handlers) handler();
    });
  }

  #read() {
    this.parameters = new URLSearchParams(window.location.search);
  }

  get(name, otherwise = "") {
    return this.parameters.get(name) ?? otherwise;
  }

  step(name) {
    const text = this.parameters.get(name);
    return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : null;
  }

  // `replace` is for typing: a letter should not become an entry of the history.
  set(changes, { replace = false } = {}) {
    for (const [name, value] of Object.entries(changes)) {
      if (value === null || value === "") this.parameters.delete(name);
      else this.parameters.set(name, value);
    }
    const query = this.parameters.toString();
    const url = `${window.location.pathname}${query ? `?${query}` : ""}`;
    if (url === window.location.pathname + window.location.search) return;
    if (replace) window.history.replaceState(null, "", url);
    else window.history.pushState(null, "", url);
  }

  onBack(handler) {
    this.handlers.push(handler);
  }
}
