// From steps to where they lie on a figure's axis and back: a figure over wall time or tokens says how.

export function placeOf(figure, step) {
  const axis = figure?.layout.meta.axis;
  return axis ? between(axis.steps, axis.places, step) : step;
}

export function stepOf(figure, place) {
  const axis = figure?.layout.meta.axis;
  return axis ? between(axis.places, axis.steps, place) : place;
}

// Even between two knots; what is outside lies at the ends.
function between(from, to, value) {
  const at = from.findIndex((one) => one >= value);
  if (at < 0) return to.at(-1);
  if (at === 0 || from[at] === from[at - 1]) return to[at];
  return to[at - 1] + ((value - from[at - 1]) / (from[at] - from[at - 1])) * (to[at] - to[at - 1]);
}
