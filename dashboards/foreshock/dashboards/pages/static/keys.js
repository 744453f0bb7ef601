// Single keys of a page, never while somebody types, and the dialog that lists them.

import { element } from "./element.js";

const TYPED_INTO = "input:not([type=checkbox]), select, textarea, [contenteditable], dialog[open]";

// `bindings` are {keys, words, act}: the keys' names as the browser tells them, and what they do in words.
export function listenToKeys(bindings) {
  const dialog = helpDialog(bindings);
  document.body.append(dialog);
  const help = { keys: ["?"], act: () => dialog.showModal() };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.target.closest?.(TYPED_INTO)) return;
    const bound = [...bindings, help].find((one) => one.keys.includes(event.key));
    if (!bound || (bound.when && !bound.when(event))) return;
    event.preventDefault();
    bound.act(event);
  });
  return dialog;
}

function helpDialog(bindings) {
  const rows = [...bindings, { keys: ["?"], words: "this list" }].map(({ keys, words }) =>
    element(
      "tr",
      {},
      element("td", {}, keys.flatMap((key, at) => [at ? " " : null, element("kbd", {}, shownKey(key))])),
      element("th", { scope: "row" }, words),
    ),
  );
  const dialog = element(
    "dialog",
    { class: "keys", "aria-labelledby": "keys-title" },
    element("h2", { id: "keys-title" }, "Keys"),
    element("table", {}, element("tbody", {}, rows)),
    element("form", { method: "dialog" }, element("button", { autofocus: true }, "Close")),
  );
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  return dialog;
}

function shownKey(key) {
  return { ArrowLeft: "←", ArrowRight: "→", Escape: "Esc" }[key] ?? key;
}
