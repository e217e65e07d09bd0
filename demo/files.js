// A file that a visitor chooses or drops is read here, in the browser, and its text put into the field "The log".
const logField = () => [...document.querySelectorAll(".demo-log textarea")].find((field) => field.checkVisibility());
// The rows of a JSON document that is too long, as JSON lines of at most `most` characters: cut anywhere else, none of it could be read.
const firstRows = (json, most) => {
  let rows, text = "", taken = 0;
  try { rows = JSON.parse(json); } catch { return null; }
  if (!Array.isArray(rows)) rows = Object.values(rows ?? {}).find(Array.isArray);
  if (!rows) return null;
  for (const row of rows) {
    const line = `${JSON.stringify(row)}\n`;
    if (text.length + line.length > most) break;
    text += line;
    taken += 1;
  }
  return { text, said: `the first ${taken.toLocaleString("en")} of ${rows.length.toLocaleString("en")} records` };
};
const LONGEST_DOCUMENT = 64e6; // bytes that are parsed in the browser
const firstLines = (text, most) => {
  const lines = text.slice(0, most).replace(/[^\n]*$/, "");
  return { text: lines, said: `the first ${lines.length.toLocaleString("en")} characters, to a whole line,` };
};
const takeLog = async (file) => {
  const field = logField(), picker = [...document.querySelectorAll(".log-file")].find((input) => input.checkVisibility());
  if (!file || !field || !picker) return;
  const said = picker.closest("p").querySelector(".log-said"), most = Number(picker.dataset.most), command = "judge it with python -m telemetry FILE.";
  const head = new Uint8Array(await file.slice(0, 4 * most).arrayBuffer());
  const wide = head[0] === 0xff && head[1] === 0xfe ? "utf-16le" : head[0] === 0xfe && head[1] === 0xff ? "utf-16be" : "utf-8";
  const decoded = (bytes) => new TextDecoder(wide).decode(bytes);
  const text = decoded(head);
  if (text.includes("\u0000")) return void (said.textContent = `${file.name} is binary: ${command}`);
  if (!text.trim()) return void (said.textContent = `${file.name} is empty.`);
  const whole = text.length <= most && file.size <= head.length, isDocument = !whole && /^\s*[[{]/.test(text) && file.size <= LONGEST_DOCUMENT;
  const taken = whole ? { text, said: "all" } : (isDocument && firstRows(decoded(await file.arrayBuffer()), most)) || firstLines(text, most);
  if (!taken.text) return void (said.textContent = `${file.name} has no line or record of at most ${most.toLocaleString("en")} characters: ${command}`);
  said.textContent = `${file.name}: ${taken.said} taken.`;
  Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set.call(field, taken.text);
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
