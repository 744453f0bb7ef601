// Gives the roles that figures name, var(--series-1), their colours from style.css.

const ROLE = /^var\((--[\w-]+)\)$/;

export function paint(value) {
  const style = getComputedStyle(document.documentElement);
  const known = new Map();
  const colour = (text) => {
    const match = ROLE.exec(text);
    if (!match) return text;
    if (!known.has(match[1])) known.set(match[1], style.getPropertyValue(match[1]).trim());
    return known.get(match[1]);
  };
  const walk = (node) => {
    if (typeof node === "string") return node.startsWith("var(") ? colour(node) : node;
    if (Array.isArray(node)) return typeof node[0] === "number" && typeof node.at(-1) !== "string" ? node : node.map(walk);
    if (node === null || typeof node !== "object") return node;
    return Object.fromEntries(Object.entries(node).map(([key, inner]) => [key, walk(inner)]));
  };
  return walk(value);
}

export function onThemeChange(handler) {
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", handler);
}
