// Who writes: a name that this browser remembers for the next form.

import { element } from "./element.js";

const AUTHOR = "foreshock-author";

export function authorField() {
  const input = element("input", { name: "author", required: true, maxlength: 200, autocomplete: "name" });
  input.value = window.localStorage.getItem(AUTHOR) ?? "";
  return input;
}

export function rememberAuthor(name) {
  window.localStorage.setItem(AUTHOR, name);
}
