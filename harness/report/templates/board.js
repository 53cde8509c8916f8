// The board's filters: verdict, study, scale, topic, deck or paper, and words. They hold for the table of claims,
// for the lectures' slides and for the studies.
"use strict";
(() => {
  const root = document.getElementById("board-filters"), table = document.getElementById("board-claims");
  const rows = [...table.tBodies[0].rows];
  const search = root.querySelector("input"), output = root.querySelector("output");
  const selects = [...root.querySelectorAll("select")];
  for (const select of selects) {
    const values = select.options.length > 1 ? [] : rows.map((row) => row.dataset[select.dataset.of]);
    for (const value of new Set(values)) select.add(new Option(value));
    if (select.options.length < 3) select.parentNode.hidden = true; // nothing to choose
  }
  const told = [...document.querySelectorAll(".told")];
  const slides = [...document.querySelectorAll(".heading")];
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const set = selects.filter((s) => s.value !== "");
    const says = (e) => words.every((w) => e.textContent.toLowerCase().includes(w));
    const has = (e, s) => (e.dataset[s.dataset.of] || "").split("\n").includes(s.value);
    for (const e of [...rows, ...told]) e.hidden = !(set.every((s) => has(e, s)) && says(e));
    const shown = rows.filter((row) => !row.hidden);
    for (const e of slides) {
      const own = [...e.querySelectorAll(".told")];
      const open = own.length ? own.some((t) => !t.hidden) : set.every((s) => has(e, s)) && says(e);
      e.hidden = !open;
    }
    for (const e of document.querySelectorAll(".lecture")) e.hidden = !e.querySelector(".heading:not([hidden])");
    const kept = new Set(shown.map((row) => row.dataset.study));
    const any = set.length || words.length;
    for (const e of document.querySelectorAll("article.study")) e.hidden = Boolean(any) && !kept.has(e.dataset.study);
    output.textContent = `${shown.length} of ${rows.length} claims`;
  };
  search.addEventListener("input", filter);
  for (const select of selects) select.addEventListener("change", filter);
  root.hidden = false;
  filter();
  // A deep link opens what is to be cited.
  const linked = () => {
    const row = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const cite = row && row.closest("tr") && row.querySelector("details");
    if (cite) cite.open = true;
  };
  addEventListener("hashchange", linked);
  linked();
})();
