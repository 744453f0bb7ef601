// A figure's numbers as CSV; what is not finite is written NaN, +Inf or -Inf, what was not told stays empty.

const quoted = (cell) => {
  const text = cell === null || cell === undefined ? "" : String(cell);
  // A spreadsheet would take a text that begins so for a formula
  const safe = /^[=+\-@\t\r]/.test(text) && !isNumber(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};
const isNumber = (text) => /^[+-]?(Inf|NaN|\d+(\.\d+)?(e[+-]?\d+)?|\.\d+)$/i.test(text);

export function csvText(rows) {
  return `${rows.map((row) => row.map(quoted).join(",")).join("\r\n")}\r\n`;
}

// The lines of a figure, one column each beside the axis that they share.
export function rowsOfFigure(figure) {
  const lines = figure.data.filter((trace) => trace.type === "scatter" && trace.mode?.includes("lines"));
  const columns = lines.flatMap((trace) => (trace.fill === "toself" ? edges(trace) : [plainColumn(trace)]));
  const kinds = figure.data.flatMap((trace) => trace.meta?.stretches ?? []);
  const places = [...new Set(columns.flatMap((column) => [...column.values.keys()]))].sort((a, b) => a - b);
  const head = [axisName(figure), ...columns.map((column) => column.name)];
  if (kinds.length) head.push("not finite");
  const rows = places.map((place) => {
    const here = kinds.filter(({ first, last }) => first <= place && place <= last);
    const cells = columns.map((column) => column.values.get(place) ?? here.find((one) => one.name === column.name)?.kind);
    return [place, ...cells, ...(kinds.length ? [here.map((one) => `${one.name}: ${one.kind}`).join("; ")] : [])];
  });
  return [head, ...rows];
}

function axisName(figure) {
  return figure.layout.xaxis?.title?.text || "x";
}

function plainColumn(trace) {
  return { name: trace.name, values: new Map(trace.x.map((place, at) => [place, trace.y[at]])) };
}

// A band is an outline there and back again, its stretches parted by null.
function edges({ name, x, y }) {
  const low = new Map();
  const high = new Map();
  let from = 0;
  for (let at = 0; at <= x.length; at += 1) {
    if (at < x.length && x[at] !== null) continue;
    const half = (at - from) / 2;
    for (let point = 0; point < half; point += 1) {
      high.set(x[from + point], y[from + point]);
      low.set(x[from + point], y[at - 1 - point]);
    }
    from = at + 1;
  }
  return [
    { name: `${name}, lowest`, values: low },
    { name: `${name}, highest`, values: high },
  ];
}

// A map of layers as the API tells it: a row for each cell that was told.
export function rowsOfMap(map) {
  const rows = [["step", "layer", `${map.series}, lowest`, "highest", "mean"]];
  for (let at = 0; at < map.first_step.length; at += 1) {
    for (let layer = 0; layer < map.layers; layer += 1) {
      if (map.age[layer][at] !== 0) continue;
      rows.push([map.first_step[at], layer, ...[map.min, map.max, map.mean].map((one) => spelt(one[layer][at]))]);
    }
  }
  return rows;
}

function spelt(value) {
  return { Infinity: "+Inf", "-Infinity": "-Inf" }[value] ?? value;
}
