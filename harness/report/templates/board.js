// The board's filters: verdict, study, scale, deck or paper, and words.
"use strict";
(() => {
  const root = document.getElementById("board-filters"), table = document.getElementById("board-claims");
  const rows = [...table.tBodies[0].rows];
  const search = root.querySelector("input"), output = root.querySelector("output");
  const selects = [...root.querySelectorAll("select")];
  for (const select of selects) {
    if (select.dataset.of === "cites") continue;
    for (const value of new Set(rows.map((row) => row.dataset[select.dataset.of]))) select.add(new Option(value));
    if (select.options.length < 3) select.parentNode.hidden = true; // nothing to choose
  }
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !(selects.every((s) => s.value === "" || row.dataset[s.dataset.of].split("\n").includes(s.value))
        && words.every((w) => text.includes(w)));
      count += !row.hidden;
    }
    output.textContent = `${count} of ${rows.length} claims`;
  };
  search.addEventListener("input", filter);
  for (const select of selects) select.addEventListener("change", filter);
  root.hidden = false;
  filter();
})();
