// Arrow keys go from one tab or radio button to the next, as one expects of them; Gradio's know Tab, Enter and space alone.
const STEPS = {
  '[role="tab"]': { ArrowLeft: -1, ArrowRight: 1 },
  'input[type="radio"]': { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 },
};
document.addEventListener("keydown", (event) => {
  const kind = Object.keys(STEPS).find((one) => event.target.matches?.(one)), step = STEPS[kind]?.[event.key];
  if (!step || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const all = [...event.target.closest('[role="tablist"], fieldset').querySelectorAll(kind)].filter((one) => one.checkVisibility() && !one.disabled);
  const next = all[(all.indexOf(event.target) + step + all.length) % all.length];
  event.preventDefault();
  next.focus();
  next.click();
});
// Gradio names the lock of a column that stays as it is, and gives it no role that may have a name (WAI-ARIA 1.2).
new MutationObserver(() => {
  for (const lock of document.querySelectorAll('.wrapper[aria-label="Static column"]:not([role])')) lock.setAttribute("role", "img");
}).observe(document.documentElement, { childList: true, subtree: true });
