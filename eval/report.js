// The report's item browser. Every text is written with textContent, so none of it becomes markup.
"use strict";
(async () => {
  const PAGE = 20; // items that are listed at a time
  const MALFORMED = "unreadable";
  const box = document.getElementById("browser");
  const bytes = Uint8Array.from(atob(document.getElementById("packed").textContent.trim()), (letter) => letter.charCodeAt(0));
  const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const data = JSON.parse(await new Response(unpacked).text());
  const words = (name) => (name || MALFORMED).replaceAll("_", " ");

  const some = (ids) => (ids.length > 6 ? `${ids.slice(0, 5).join(", ")} and ${ids.length - 5} more` : ids.join(", "));

  function make(tag, text, kind) {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (kind) element.className = kind;
    return element;
  }

  // ---------------------------------------------------------------- filters
  const distinct = (values) => [...new Set(values)].sort();
  const answer = (item) => item.answers[defender()];
  const isRight = (item) => answer(item).action === item.truth;
  const filters = {
    result: (item, value) => (value === "right") === isRight(item),
    truth: (item, value) => item.truth === value,
    answer: (item, value) => (answer(item).action || MALFORMED) === value,
    family: (item, value) => item.family === value,
    rule: (item, value) => (item.rules || []).includes(value),
    task: (item, value) => item.task === value,
    set: (item, value) => item.set === value,
  };
  const choices = {
    result: ["wrong", "right"],
    truth: distinct(data.items.map((item) => item.truth)),
    answer: distinct(data.items.flatMap((item) => item.answers.map((one) => one.action || MALFORMED))),
    family: distinct(data.items.map((item) => item.family)),
    rule: distinct(data.items.flatMap((item) => item.rules || [])),
    task: distinct(data.items.map((item) => item.task)),
    set: distinct(data.items.map((item) => item.set)),
  };
  const selects = {};
  const form = document.getElementById("filters");

  function addSelect(name, options, chosen) {
    const label = make("label", name);
    const select = make("select");
    select.name = name;
    for (const [value, text] of options) select.append(new Option(text, value, false, value === chosen));
    label.append(select);
    form.append(label);
    selects[name] = select;
    select.addEventListener("change", list);
  }
  const defender = () => Number(selects.defender.value);
  addSelect("defender", data.defenders.map((name, index) => [String(index), name]), String(data.defenders.indexOf(data.focus)));
  for (const [name, values] of Object.entries(choices)) {
    if (values.length < 2) continue;
    addSelect(name, [["", "any"], ...values.map((value) => [value, words(value)])], name === "result" ? "wrong" : "");
  }
  if (!data.items.some((item) => !isRight(item))) selects.result.value = "";
  const search = make("input");
  search.type = "search";
  search.name = "text";
  search.placeholder = "id, title, line";
  const label = make("label", "text");
  label.append(search);
  form.append(label);
  search.addEventListener("input", list);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;

  const holds = (item, text) => JSON.stringify([item.id, item.title, item.lines, item.answers]).toLowerCase().includes(text);
  function found() {
    const asked = Object.entries(filters).filter(([name]) => selects[name] && selects[name].value);
    const text = search.value.trim().toLowerCase();
    return data.items
      .filter((item) => asked.every(([name, holding]) => holding(item, selects[name].value)) && (!text || holds(item, text)))
      .sort((one, other) => answer(one).reward - answer(other).reward || other.weight - one.weight);
  }

  // ---------------------------------------------------------------- an item
  function row(list, name, ...parts) {
    list.append(make("dt", name));
    const value = make("dd");
    value.append(...parts);
    list.append(value);
  }

  function logLine(item, [id, text], cited) {
    const line = make("li", undefined, item.evidence.includes(id) ? "evidence" : "");
    const marks = [[item.evidence.includes(id), "evidence"], [id === item.alerted, "alert"], [id === cited, "cited"]];
    line.append(make("b", id), " ", ...marks.filter(([holding]) => holding).map(([, mark]) => make("mark", mark)), " ", text);
    return line;
  }

  function logLines(item, lines, cited) {
    const list = make("ul", undefined, "lines");
    list.append(...lines.map((line) => logLine(item, line, cited)));
    return list;
  }

  function folded(title, ...parts) {
    const details = make("details", undefined, "more");
    details.append(make("summary", title), ...parts);
    return details;
  }

  function showLines(item, given) {
    const matters = ([id]) => item.evidence.includes(id) || id === given.cited || id === item.alerted;
    const rest = item.lines.filter((line) => !matters(line));
    const parts = [make("h4", "Lines that matter"), logLines(item, item.lines.filter(matters), given.cited)];
    if (rest.length) parts.push(folded(`${rest.length} other lines`, logLines(item, rest, given.cited)));
    return parts;
  }

  function showContext(item) {
    const list = make("dl");
    for (const [part, rows] of item.context) row(list, part, ...rows.map((text) => make("div", text)));
    return folded("What is known of the organisation", list);
  }

  function answerRow(item, one, index) {
    const value = make("dd");
    value.append(make("b", words(one.action), one.action === item.truth ? "good" : "bad"), ` reward ${one.reward.toFixed(2)}`);
    if (one.cited) value.append(`, cites ${one.cited}`);
    if (one.wrong_step) value.append(`, first wrong step: ${one.wrong_step}`);
    if (one.said) value.append(make("div", one.said));
    return [make("dt", data.defenders[index]), value];
  }

  function body(item) {
    const given = answer(item);
    const parts = [];
    if (item.title !== undefined) {
      const alert = make("dl");
      row(alert, "alert", `${item.title} (${item.severity}), fired on ${item.alerted}`);
      if (item.narrative) row(alert, "narrative", item.narrative);
      parts.push(alert);
    }
    const verdicts = make("dl");
    const why = (item.reasons || []).map((sentence) => make("div", sentence));
    row(verdicts, "verifier", make("b", words(item.truth)), ` evidence ${some(item.evidence)}`, ...why);
    const order = [defender(), ...item.answers.keys()].filter((index, place, all) => all.indexOf(index) === place);
    order.forEach((index) => verdicts.append(...answerRow(item, item.answers[index], index)));
    parts.push(make("h4", "Answers"), verdicts);
    if (item.lines) {
      parts.push(...showLines(item, given), showContext(item));
      if (item.rules.length) {
        const rules = make("dl");
        item.rules.forEach((rule) => row(rules, rule, data.rules[rule] || ""));
        parts.push(folded("What the rules look for", rules));
      }
    }
    return parts;
  }

  function entry(item) {
    const details = make("details", undefined, "item");
    const summary = make("summary");
    const verdict = make("span");
    verdict.append(make("b", words(answer(item).action), isRight(item) ? "good" : "bad"), isRight(item) ? " is right" : ` where ${words(item.truth)} is right`);
    summary.append(verdict, make("small", `${item.title ?? ""} · ${words(item.family)} · ${item.id} · reward ${answer(item).reward.toFixed(2)}`));
    details.append(summary);
    details.addEventListener("toggle", () => {
      if (details.open && details.children.length === 1) details.append(...body(item));
    });
    return details;
  }

  // ---------------------------------------------------------------- the list
  const count = document.getElementById("count");
  const more = make("button", "Show more");
  more.type = "button";
  let items = [];
  let shown = 0;

  function extend() {
    const next = items.slice(shown, shown + PAGE).map(entry);
    shown += next.length;
    more.before(...next);
    more.hidden = shown === items.length;
    if (shown > PAGE && next.length) next[0].querySelector("summary").focus();
  }

  function list() {
    items = found();
    shown = 0;
    const all = data.items.length.toLocaleString("en");
    count.textContent = items.length ? `${items.length.toLocaleString("en")} of ${all} incidents, the lowest rewards first` : `None of the ${all} incidents is like that; set a choice to "any".`;
    box.replaceChildren(more);
    extend();
  }
  more.addEventListener("click", extend);
  list();
  const first = box.querySelector("details");
  if (first) first.open = true;
})();
