// A file that a visitor chooses or drops is read here, in the browser, and its text put into the field "The log".
const logField = () => [...document.querySelectorAll(".demo-log textarea")].find((field) => field.checkVisibility());
const takeLog = async (file) => {
  const field = logField(), picker = [...document.querySelectorAll(".log-file")].find((input) => input.checkVisibility());
  if (!file || !field || !picker) return;
  const said = picker.closest("p").querySelector(".log-said"), most = Number(picker.dataset.most);
  const head = new Uint8Array(await file.slice(0, 4 * most).arrayBuffer());
  const wide = head[0] === 0xff && head[1] === 0xfe ? "utf-16le" : head[0] === 0xfe && head[1] === 0xff ? "utf-16be" : "utf-8";
  let text = new TextDecoder(wide).decode(head);
  const cut = text.length > most || file.size > head.length;
  if (cut) text = text.slice(0, most).replace(/[^\n]*$/, "");
  said.textContent = text.includes("\u0000") ? `${file.name} is binary: judge it with python -m telemetry FILE.`
    : `${file.name}: ${cut ? `the first ${text.length.toLocaleString("en")} characters, to a whole line,` : "all"} taken.`;
  if (text.includes("\u0000")) return;
  Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set.call(field, text);
  field.dispatchEvent(new Event("input", { bubbles: true }));
};
document.addEventListener("change", (event) => event.target.matches?.(".log-file") && takeLog(event.target.files[0]));
const onLog = (event) => event.target.closest?.(".demo-log, .log-drop") && event.dataTransfer?.types.includes("Files");
document.addEventListener("dragover", (event) => onLog(event) && event.preventDefault());
document.addEventListener("drop", (event) => {
  if (!onLog(event)) return;
  event.preventDefault();
  takeLog(event.dataTransfer.files[0]);
});
