// What time it is by the collector's clock: ages must not hang on whether this machine's clock is right.

// An answer's date has whole seconds and may have been on its way for some
const ALIKE_SECONDS = 5;

let ahead = 0;

// `date` is an answer's Date header.
export function hearServerTime(date) {
  const told = Date.parse(date ?? "");
  if (!Number.isFinite(told)) return;
  const seconds = (told - Date.now()) / 1000;
  ahead = Math.abs(seconds) > ALIKE_SECONDS ? seconds : 0;
}

// Seconds since the epoch.
export function now() {
  return Date.now() / 1000 + ahead;
}

// Seconds by which the collector's clock is ahead of this machine's; 0 where they agree.
export function secondsAhead() {
  return ahead;
}
