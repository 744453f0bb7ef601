// What runs of a project may be grouped by: the keys of their configuration, those that differ first.

function* leaves(config, before = "") {
  for (const [key, value] of Object.entries(config ?? {})) {
    if (value !== null && typeof value === "object" && !Array.isArray(value)) yield* leaves(value, `${before}${key}.`);
    else if (value !== null) yield [`${before}${key}`, typeof value === "string" ? value : JSON.stringify(value)];
  }
}

export function groupings(runs) {
  const seen = new Map([["group", new Set(runs.map((run) => run.group ?? ""))]]);
  for (const run of runs) {
    for (const [key, value] of leaves(run.config)) {
      if (key.split(".").at(-1) === "seed") continue;
      if (!seen.has(key)) seen.set(key, new Set());
      seen.get(key).add(value);
    }
  }
  const keys = [...seen.keys()].sort();
  const differs = (key) => seen.get(key).size > 1;
  const tags = runs.some((run) => (run.tags ?? []).length) ? ["tag"] : [];
  return [...keys.filter(differs), ...tags, ...keys.filter((key) => !differs(key))];
}
