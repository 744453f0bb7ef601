// Draws the report's figures: when they come into sight, in the colours of the screen, and light on paper.

const FIGURES = JSON.parse(document.getElementById("figures").textContent);
const CONFIG = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d"] };
// Two beside one another on paper, as large as on a small screen, then made smaller (report.css)
const PAPER_WIDTH = 444;
const drawn = new Set();

function draw(place, width) {
  const { data, layout } = paint(FIGURES[place.id]);
  const height = layout.height ?? 340;
  place.style.height = `${height}px`;
  // Plotly keeps the size that it has found once, so that of paper is given to it
  window.Plotly.react(place, data, width ? { ...layout, width, height } : layout, CONFIG);
  drawn.add(place);
}

const places = [...document.querySelectorAll(".plot")];
const sight = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      sight.unobserve(target);
      draw(target);
    }
  },
  { rootMargin: "400px" },
);
for (const place of places) sight.observe(place);

onThemeChange(() => drawn.forEach((place) => draw(place)));
window.addEventListener("beforeprint", () => {
  document.documentElement.dataset.theme = "light";
  for (const place of places) draw(place, PAPER_WIDTH);
});
window.addEventListener("afterprint", () => {
  delete document.documentElement.dataset.theme;
  for (const place of places) draw(place);
});
