// Links within the page work in any frame; files beside it are there only where it lies on a disk
// or a server, and not in MLflow's viewer.
"use strict";
for (const link of document.querySelectorAll("a.beside")) {
  if (!/^(file|https?):$/.test(location.protocol)) link.replaceWith(link.textContent);
}
document.addEventListener("click", (event) => {
  const link = event.target.closest && event.target.closest('a[href^="#"]');
  const target = link && document.getElementById(link.getAttribute("href").slice(1));
  if (!target || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (/^(file|https?):$/.test(location.protocol)) return; // the browser does it, with history
  event.preventDefault();
  target.scrollIntoView();
  const folded = target.matches("tr") && target.querySelector("details");
  if (folded) folded.open = true;
});
