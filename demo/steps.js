// The slider over the checkpoints: what belongs to one of them carries `data-steps`, and style.css shows it at that stage alone.
const stepTo = (place) => {
  document.documentElement.dataset.at = place;
  for (const slider of document.querySelectorAll(".learn-at")) {
    slider.value = place;
    slider.setAttribute("aria-valuetext", (slider.dataset.names || "").split("|")[place] || "");
  }
};
document.addEventListener("input", (event) => event.target.matches?.(".learn-at") && stepTo(event.target.value));
let training = 0;
document.addEventListener("click", (event) => {
  const run = event.target.closest?.(".learn-run"), slider = run && run.closest(".learn").querySelector(".learn-at");
  if (!slider) return;
  clearInterval(training);
  stepTo(0);
  training = setInterval(() => (Number(slider.value) < Number(slider.max) ? stepTo(Number(slider.value) + 1) : clearInterval(training)), 700);
});
// A slider that comes into the page begins at the last checkpoint.
new MutationObserver(() => {
  const slider = document.querySelector(".learn-at");
  if (slider && document.documentElement.dataset.at === undefined) stepTo(slider.max);
}).observe(document.documentElement, { childList: true, subtree: true });
// A figure that was drawn while it was folded away has the width that plotly takes then; it is told when its place has one.
const widths = new ResizeObserver((entries) => entries.some(({ contentRect }) => contentRect.width) && window.dispatchEvent(new Event("resize")));
new MutationObserver(() => document.querySelectorAll(".demo-plot").forEach((place) => widths.observe(place))).observe(document.documentElement, { childList: true, subtree: true });
// After an answer or a reveal the verdicts come into view, where the visitor had scrolled on.
document.addEventListener("click", (event) => {
  const bar = event.target.closest?.(".demo-bar"), tab = bar && bar.closest('[role="tabpanel"]');
  if (!tab) return;
  const wasRevealed = Boolean(tab.querySelector(".case.revealed")), byKey = event.detail === 0;
  const asked = new MutationObserver(() => {
    const radio = tab.querySelector(".demo-chips input");
    if (!radio || radio.disabled || tab.querySelector(".case.revealed")) return;
    asked.disconnect();
    radio.focus({ preventScroll: true }); // who plays by keyboard need not go round the page to answer the next incident
  });
  if (wasRevealed && byKey) asked.observe(tab, { attributeFilter: ["disabled"], childList: true, subtree: true });
  setTimeout(() => asked.disconnect(), 5000);
  const seen = new MutationObserver(() => {
    seen.disconnect();
    const top = tab.querySelector(".card.recap") || tab.querySelector(".case"); // a game ends with its recap
    if (top && top.getBoundingClientRect().top < 0) top.scrollIntoView({ block: "start" });
  });
  seen.observe(tab, { childList: true, subtree: true });
  setTimeout(() => seen.disconnect(), 5000);
});
