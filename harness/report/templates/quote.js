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
