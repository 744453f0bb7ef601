// Gives the roles that figures name, var(--series-1), their colours from style.css.

const ROLE = /^var\((--[\w-]+)\)$/;
const DARK = window.matchMedia("(prefers-color-scheme: dark)");

// Arrays are painted once: one that comes again comes out as it did, so that plotly sees it did not change.
let painted = new WeakMap();
let colours = new Map();
DARK.addEventListener("change", () => {
  painted = new WeakMap();
  colours = new Map();
});

function colour(text) {
  const match = ROLE.exec(text);
  if (!match) return text;
  if (!colours.has(match[1])) {
    colours.set(match[1], getComputedStyle(document.documentElement).getPropertyValue(match[1]).trim());
  }
  return colours.get(match[1]);
}

function paintArray(array) {
  let found = painted.get(array);
  if (!found) {
    const inner = array.map(paint);
    found = inner.every((one, index) => Object.is(one, array[index])) ? array : inner;
    painted.set(array, found);
  }
  return found;
}

export function paint(node) {
  if (typeof node === "string") return node.startsWith("var(") ? colour(node) : node;
  if (node === null || typeof node !== "object") return node;
  // plotly writes into traces, axes and shapes, but never into numbers
  if (Array.isArray(node)) return isOfObjects(node) ? node.map(paint) : paintArray(node);
  return Object.fromEntries(Object.entries(node).map(([key, inner]) => [key, paint(inner)]));
}

function isOfObjects(array) {
  return array.length > 0 && array[0] !== null && typeof array[0] === "object" && !Array.isArray(array[0]);
}

export function onThemeChange(handler) {
  DARK.addEventListener("change", handler);
}
