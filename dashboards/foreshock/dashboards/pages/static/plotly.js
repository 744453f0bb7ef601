// plotly.js, which is large: it comes and starts beside everything else that a page has to do first.

let ready = null;

export function plotly() {
  ready ??= new Promise((resolve, reject) => {
    if (window.Plotly) return resolve(window.Plotly);
    const script = document.querySelector("script[src*='plotly.min.js']");
    script.addEventListener("load", () => resolve(window.Plotly));
    script.addEventListener("error", () => reject(new Error("plotly.js could not be loaded: reload the page")));
  });
  return ready;
}
