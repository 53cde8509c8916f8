// A claim's figure, small in its card and large when opened: the drawing further down, used again.
// Each is made when its card comes near the screen, since copies of large drawings are slow.
(() => {
  const SPACE = "http://www.w3.org/2000/svg";
  const near = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting || target.firstChild) continue;
      const use = document.createElementNS(SPACE, "use");
      for (const name of ["href", "width", "height"]) use.setAttribute(name, target.dataset[name]);
      target.append(use);
      near.unobserve(target);
    }
  }, { rootMargin: "300px" });
  for (const see of document.querySelectorAll("details.see")) {
    const svg = document.createElementNS(SPACE, "svg"), [width, height] = see.dataset.size.split(" ");
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("aria-hidden", "true");
    Object.assign(svg.dataset, { href: `#drawn-${see.dataset.figure}`, width, height });
    see.querySelector("summary").append(svg);
    see.hidden = false;
    near.observe(svg);
  }
})();
// The line to quote, copied by a button; where the browser lets no page do so (MLflow's viewer), it is
// marked, so that a key copies it.
for (const button of document.querySelectorAll(".quote button")) {
  const line = button.previousElementSibling;
  const say = (word) => {
    button.textContent = word;
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  };
  const mark = () => {
    getSelection().selectAllChildren(line);
    say(document.execCommand("copy") ? "Copied" : "Marked");
  };
  button.hidden = false;
  button.setAttribute("aria-live", "polite");
  button.addEventListener("click", () => {
    if (!navigator.clipboard) mark();
    else navigator.clipboard.writeText(line.textContent).then(() => say("Copied"), mark);
  });
}
