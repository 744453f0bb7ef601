// Puts what changed into a figure that the page has; foreshock.dashboards.figures.patch is its Python twin.

// The newer value; `old` stays as it is, and parts that did not change are shared with it.
export function apply(old, patch) {
  if (patch === null) return old;
  if ("set" in patch) return patch.set;
  if (!("keys" in patch)) return applyToElements(old, patch);
  const members = { ...old };
  for (const key of patch.gone) delete members[key];
  for (const [key, inner] of Object.entries(patch.keys)) members[key] = apply(old[key], inner);
  return members;
}

function applyToElements(old, patch) {
  const elements = [...old];
  for (const [index, inner] of Object.entries(patch.items ?? {})) elements[index] = apply(old[index], inner);
  if (!("put" in patch)) return elements;
  const [start, stop] = patch.at;
  return [...elements.slice(0, start), ...patch.put, ...elements.slice(stop)];
}
