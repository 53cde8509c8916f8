// All trials of the run: what is filtered, sorted and chosen, and a table of it, a page at a time.
const Trials = (() => {
  const holder = document.getElementById("trials-data");
  const root = document.getElementById("explore");
  const table = document.getElementById("trials-table");
  if (!holder || !root || !table) return null;
  const PAGE = 60;
  const data = JSON.parse(holder.textContent);
  const columns = data.columns;
  const by = Object.fromEntries(columns.map((c) => [c.name, c]));
  const odd = { inf: Infinity, "-inf": -Infinity };
  for (const c of columns) {
    if (c.levels || c.role === "key" || c.role === "run") continue;
    c.values = Float64Array.from(c.values, (v) => (v === null ? NaN : v in odd ? odd[v] : v));
  }
  const count = by.trial.values.length;
  const listeners = { change: [], choose: [] };
  const tell = (what, value) => listeners[what].forEach((f) => f(value));

  const number = (v) => {
    if (Number.isNaN(v)) return "";
    if (!Number.isFinite(v)) return v > 0 ? "∞" : "−∞";
    const size = Math.abs(v);
    if (Number.isInteger(v) && size < 1e9) return String(v).replace("-", "−");
    const plain = size === 0 || (size >= 1e-4 && size < 1e6);
    return (plain ? String(Number(v.toPrecision(4))) : v.toExponential(2).replace("e+", "e")).replaceAll("-", "−");
  };
  const text = (c, i) => (c.levels ? c.levels[c.values[i]] : c.role === "key" || c.role === "run" ? c.values[i] : number(c.values[i]));

  // --- filters
  const search = root.querySelector('input[type="search"]');
  const found = root.querySelector(".found");
  const choices = root.querySelector(".choices");
  const selects = [];
  for (const c of columns) {
    if (c.role !== "level" || c.levels.length < 2) continue;
    const label = document.createElement("label"), select = document.createElement("select");
    select.dataset.column = c.name;
    select.add(new Option("all", ""));
    c.levels.forEach((level, i) => select.add(new Option(level, i)));
    label.append(c.label, " ", select);
    choices.append(label, " ");
    selects.push(select);
    select.addEventListener("change", () => refresh());
  }
  let haystack = null; // made at the first search
  const hay = () => {
    haystack ??= Array.from({ length: count }, (_, i) =>
      columns.filter((c) => c.levels || c.role === "key" || c.name === "seed").map((c) => text(c, i)).join(" ").toLowerCase());
    return haystack;
  };
  let shown = Array.from({ length: count }, (_, i) => i);
  let sort = null, page = 0, chosen = -1;

  function filter() {
    const wanted = selects.filter((s) => s.value !== "").map((s) => [by[s.dataset.column].values, Number(s.value)]);
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const text_ = words.length ? hay() : null;
    shown = [];
    for (let i = 0; i < count; i++) {
      if (wanted.every(([values, v]) => values[i] === v) && words.every((w) => text_[i].includes(w))) shown.push(i);
    }
    if (sort) {
      const { c, down } = sort, v = c.values, turn = down ? -1 : 1;
      const words_ = c.role === "key" || c.role === "run";
      shown.sort((a, b) => {
        if (words_) return turn * (v[a] < v[b] ? -1 : v[a] > v[b] ? 1 : 0);
        const x = v[a], y = v[b];
        if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y); // missing last
        return turn * (x === y ? 0 : x < y ? -1 : 1);
      });
    }
  }
  function refresh() {
    filter();
    page = 0;
    draw();
    tell("change");
  }
  let waiting = 0;
  search.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(refresh, 60); });
  root.querySelector(".reset").addEventListener("click", () => {
    search.value = "";
    for (const s of selects) s.value = "";
    sort = null;
    choose(-1);
    refresh();
  });

  // --- the table
  const listed = [...data.listed.map((name) => by[name]).filter(Boolean), by.seconds, by.trial];
  const head = table.tHead.rows[0], body = table.tBodies[0];
  head.replaceChildren(...listed.map((c) => {
    const th = document.createElement("th"), button = document.createElement("button");
    th.scope = "col";
    if (!c.levels && c.role !== "key") th.className = "num";
    button.type = "button";
    button.textContent = c.label;
    button.addEventListener("click", () => {
      sort = { c, down: sort?.c === c && !sort.down };
      for (const other of head.cells) other.removeAttribute("aria-sort");
      th.setAttribute("aria-sort", sort.down ? "descending" : "ascending");
      filter();
      page = 0;
      draw();
    });
    th.append(button);
    return th;
  }));
  const range = document.getElementById("trials-range");
  const step = (label, to) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.addEventListener("click", () => { page = to(); draw(); table.parentNode.scrollTop = 0; });
    range.before(button);
    return button;
  };
  const pages = () => Math.max(1, Math.ceil(shown.length / PAGE));
  const back = step("← Back", () => page - 1), next = step("Next →", () => page + 1);

  function draw() {
    const some = shown.slice(page * PAGE, (page + 1) * PAGE);
    body.replaceChildren(...some.map((i) => {
      const tr = document.createElement("tr");
      tr.className = `${text(by.status, i)}${i === chosen ? " kept" : ""}`;
      for (const c of listed) {
        const td = document.createElement("td");
        if (!c.levels && c.role !== "key") td.className = "num";
        if (c.role === "key") {
          const button = document.createElement("button");
          button.type = "button";
          button.textContent = text(c, i);
          button.addEventListener("click", () => choose(i, true));
          td.append(button);
        } else td.textContent = text(c, i);
        tr.append(td);
      }
      return tr;
    }));
    if (!sort) for (const th of head.cells) th.removeAttribute("aria-sort");
    back.disabled = page === 0;
    next.disabled = page >= pages() - 1;
    const n = (v) => v.toLocaleString("en");
    const first = shown.length ? page * PAGE + 1 : 0;
    range.textContent = `${n(first)} to ${n(Math.min(shown.length, (page + 1) * PAGE))} of ${n(shown.length)}`
      + (count < data.total ? `; ${n(data.total - count)} more are in trials.csv` : "");
    found.textContent = `${n(shown.length)} of ${n(count)} trials`;
  }
  function choose(i, scroll = false) {
    chosen = i;
    draw();
    tell("choose", { i, scroll });
  }
  root.hidden = false;
  draw();
  return {
    data, columns, by, count, text, number, choose,
    get shown() { return shown; },
    get chosen() { return chosen; },
    alone(i) { search.value = by.trial.values[i]; refresh(); },
    on(what, listener) { listeners[what].push(listener); },
  };
})();
