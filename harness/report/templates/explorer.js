// Every trial as a dot: any metric against any setting, factor or seed.
(() => {
  if (!Trials) return;
  const { data, columns, by, text, number } = Trials;
  const root = document.getElementById("explore");
  const canvas = root.querySelector("canvas"), about = root.querySelector(".about");
  const metric = root.querySelector("select.metric"), axis = root.querySelector("select.axis");
  const metrics = columns.filter((c) => c.role === "metric" || c.role === "cost");
  const axes = columns.filter((c) => c.role === "axis" || (c.role === "level" && c.name !== "status"));
  if (!metrics.length || !axes.length) { root.querySelector(".explorer").hidden = true; return; }
  for (const c of metrics) metric.add(new Option(c.label, c.name));
  for (const c of axes) axis.add(new Option(c.label, c.name));
  if (data.metric) metric.value = data.metric;
  axis.value = data.axis;

  const pen = canvas.getContext("2d");
  const tone = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  let dots = [], at = -1; // what is drawn, from left to right, and which is pointed at
  const diverged = by.status.levels.indexOf("diverged");
  const confirm = by.phase.levels.indexOf("confirm");

  // whether a trial's kind (arm and cell) reports a metric at all
  const kinds = columns.filter((c) => c.role === "level" && !["status", "phase"].includes(c.name));
  const kind = (i) => kinds.map((c) => c.values[i]).join(" ");
  const reports = new Map();
  const reporting = (c) => {
    if (!reports.has(c)) {
      const there = new Set();
      for (let i = 0; i < Trials.count; i++) if (!Number.isNaN(c.values[i])) there.add(kind(i));
      reports.set(c, there);
    }
    return reports.get(c);
  };

  // a scale from values to pixels, with ticks
  const scale = (c, values, from, to) => {
    if (c.levels) {
      const there = c.levels.filter((_, i) => values.has(i)), place = new Map();
      c.levels.forEach((level, i) => { if (values.has(i)) place.set(i, place.size); });
      const size = (to - from) / Math.max(1, there.length);
      return {
        at: (v, i) => from + size * (place.get(v) + 0.5 + 0.55 * (((i * 0.6180339887) % 1) - 0.5)),
        ticks: there.map((level, k) => [from + size * (k + 0.5), level]), size: Math.abs(size),
      };
    }
    const log = c.log && values.some((v) => v > 0);
    const real = values.filter((v) => Number.isFinite(v) && (!log || v > 0));
    let low = Infinity, high = -Infinity;
    const f = log ? Math.log10 : (v) => v;
    const sorted = Float64Array.from(real, f).sort();
    if (sorted.length) { low = sorted[0]; high = sorted[sorted.length - 1]; } else { low = 0; high = 1; }
    if (c.role === "metric" && !log && sorted.length > 20) { // a few that ran away leave room for the rest
      const q = (p) => sorted[Math.floor(p * (sorted.length - 1))];
      const reach = 6 * (q(0.95) - q(0.05) || 1);
      low = Math.max(low, q(0.05) - reach);
      high = Math.min(high, q(0.95) + reach);
    }
    if (!(high > low)) { low -= 0.5; high += 0.5; }
    const pad = 0.03 * (high - low);
    low -= pad; high += pad;
    const place = (v) => from + ((to - from) * (v - low)) / (high - low);
    const times = c.unit === "fraction" ? 100 : 1;
    const ticks = [];
    if (log && high - low > 1.2) {
      const every = Math.max(1, Math.round((high - low) / 6));
      for (let e = Math.ceil(low); e <= high; e += every) ticks.push([place(e), Math.abs(e) < 5 ? number(10 ** e) : `1e${e}`]);
    } else {
      const a = log ? 10 ** low : low, b = log ? 10 ** high : high;
      const raw = (b - a) / 5, ten = 10 ** Math.floor(Math.log10(raw));
      const gap = [1, 2, 5, 10].map((m) => m * ten).find((m) => m >= raw);
      for (let v = Math.ceil(a / gap) * gap; v <= b + gap * 1e-9; v += gap) {
        if (!log || v > 0) ticks.push([place(f(v)), number(v * times)]);
      }
    }
    return {
      ticks,
      at: (v) => (Number.isFinite(v) && (!log || v > 0) ? Math.min(Math.max(place(f(v)), Math.min(from, to)), Math.max(from, to)) : null),
    };
  };

  function draw() {
    const width = canvas.clientWidth, height = canvas.clientHeight, ratio = devicePixelRatio || 1;
    if (!width || !height) return;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const y = by[metric.value], x = by[axis.value];
    const ink = tone("--ink"), soft = tone("--soft"), line = tone("--line"), paper = tone("--paper");
    pen.font = "11px system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif";
    const there = reporting(y);
    const some = Trials.shown.filter((i) =>
      (!Number.isNaN(y.values[i]) || (by.status.values[i] === diverged && there.has(kind(i)))) && !Number.isNaN(x.values[i]));
    const bad = some.some((i) => by.status.values[i] === diverged);
    const never = some.some((i) => Math.abs(y.values[i]) === Infinity && by.status.values[i] !== diverged);
    const alive = some.filter((i) => by.status.values[i] !== diverged);
    const slant = x.levels && x.levels.length * 62 > width;
    const left = 58, right = width - 12, top = 18, foot = height - (slant ? 76 : 38);
    const lost = y.better === "high" ? "bottom" : "top"; // the worse side
    const strips = (bad ? 1 : 0) + (never ? 1 : 0);
    const ceiling = top + (lost === "top" ? 20 * strips : 0), floor = foot - (lost === "bottom" ? 20 * strips : 0);
    const values = (c, list) => (c.levels ? new Set(list.map((i) => c.values[i])) : list.map((i) => c.values[i]));
    const sx = scale(x, values(x, some), left + 6, right), sy = scale(y, values(y, alive), floor - 4, ceiling + 4);
    const strip = (k) => (lost === "top" ? top + 20 * k + 9 : foot - 20 * k - 9);
    pen.clearRect(0, 0, width, height);
    pen.lineWidth = 1;
    pen.textBaseline = "middle";
    pen.fillStyle = soft;
    pen.strokeStyle = line;
    pen.textAlign = "right";
    for (const [p, label] of sy.ticks) {
      pen.beginPath(); pen.moveTo(left, p); pen.lineTo(right, p); pen.stroke();
      pen.fillText(label, left - 6, p);
    }
    let k = 0;
    const strips_ = {};
    for (const [name, on] of [["diverged", bad], ["never", never]]) {
      if (on) { strips_[name] = strip(k++); pen.fillText(name, left - 6, strips_[name]); }
    }
    pen.textAlign = slant ? "right" : "center";
    let last = -Infinity;
    for (const [p, label] of sx.ticks) {
      if (slant) {
        pen.save(); pen.translate(p + 3, foot + 10); pen.rotate(-0.7); pen.fillText(label.slice(0, 18), 0, 0); pen.restore();
      } else if (p - pen.measureText(label).width / 2 > last + 6) {
        pen.fillText(label, p, foot + 12);
        last = p + pen.measureText(label).width / 2;
      }
    }
    pen.strokeStyle = soft;
    pen.beginPath(); pen.moveTo(left, top); pen.lineTo(left, foot); pen.lineTo(right, foot); pen.stroke();
    pen.fillStyle = ink;
    pen.textAlign = "left";
    const unit = y.unit === "fraction" ? "%" : y.unit;
    pen.fillText(unit && !y.label.includes(unit) ? `${y.label} (${unit})` : y.label, 4, 7);
    pen.textAlign = "right";
    pen.fillText(x.label, right, height - 7);

    dots = some.map((i) => {
      const px = sx.at(x.values[i], i);
      const gone = by.status.values[i] === diverged;
      let py = gone ? strips_.diverged : sy.at(y.values[i], i);
      if (py === null) py = Math.abs(y.values[i]) === Infinity ? strips_.never : floor - 4;
      return { i, x: px, y: py, gone };
    }).filter((d) => d.x !== null && d.y !== undefined).sort((a, b) => a.x - b.x || a.y - b.y);
    for (const d of dots) mark(d, 3);
    const kept = dots.find((d) => d.i === Trials.chosen);
    for (const d of [kept, dots[at]]) {
      if (!d) continue;
      pen.beginPath(); pen.arc(d.x, d.y, 9, 0, 7);
      pen.strokeStyle = ink; pen.lineWidth = 1.5; pen.stroke();
      mark(d, 4.5);
    }
    if (!dots.length) {
      pen.fillStyle = soft; pen.textAlign = "center";
      pen.fillText("none of these trials reports this", (left + right) / 2, (top + foot) / 2);
    }
    canvas.setAttribute("aria-label", `${dots.length} trials: ${y.label} against ${x.label}`);

    function mark(d, size) {
      const colour = data.colours[text(by.arm, d.i)] || ink;
      pen.globalAlpha = size > 3 ? 1 : 0.75;
      pen.lineWidth = 1.3;
      pen.strokeStyle = pen.fillStyle = colour;
      pen.beginPath();
      if (d.gone) {
        pen.moveTo(d.x - size, d.y - size); pen.lineTo(d.x + size, d.y + size);
        pen.moveTo(d.x + size, d.y - size); pen.lineTo(d.x - size, d.y + size);
        pen.stroke();
      } else {
        pen.arc(d.x, d.y, size, 0, 7);
        if (by.phase.values[d.i] === confirm) pen.fill(); else pen.stroke();
      }
      pen.globalAlpha = 1;
    }
  }

  function tellAbout(i) {
    about.replaceChildren();
    const add = (tag, words, to = about) => { const e = document.createElement(tag); e.textContent = words; to.append(e); return e; };
    if (i < 0) {
      add("p", "No trial chosen.").className = "soft";
      legend();
      return;
    }
    add("h4", `${text(by.arm, i)}, trial ${by.trial.values[i]}`);
    const list = add("dl", "");
    const y = by[metric.value];
    for (const c of [y, ...columns.filter((c) => c !== y && !["key", "run"].includes(c.role) && c.name !== "arm")]) {
      const words = text(c, i);
      if (words === "") continue;
      add("dt", c.label, list);
      add("dd", words, list);
    }
    if (data.run && by.run_id.values[i]) {
      const link = add("a", "Open in MLflow", add("p", ""));
      link.href = data.run.replace("{run}", by.run_id.values[i]);
      link.target = "_blank";
      link.rel = "noopener";
      link.title = "served by: make ui";
    }
    add("code", `harness replay ${by.trial.values[i]}`);
  }
  function legend() {
    const list = document.createElement("ul");
    list.className = "arms";
    const there = new Set(dots.map((d) => by.arm.values[d.i]));
    by.arm.levels.forEach((arm, k) => {
      if (!there.has(k)) return;
      const item = document.createElement("li"), dot = document.createElement("span");
      dot.style.background = data.colours[arm];
      item.append(dot, arm);
      list.append(item);
    });
    about.append(list);
  }
  const point = (k) => {
    if (k === at) return;
    at = k;
    draw();
    tellAbout(k >= 0 ? dots[k].i : Trials.chosen);
  };
  const nearest = (event) => {
    const box = canvas.getBoundingClientRect(), px = event.clientX - box.left, py = event.clientY - box.top;
    let best = -1, least = 18 * 18;
    dots.forEach((d, k) => {
      const far = (d.x - px) ** 2 + (d.y - py) ** 2;
      if (far < least) { least = far; best = k; }
    });
    return best;
  };
  canvas.addEventListener("pointermove", (e) => point(nearest(e)));
  canvas.addEventListener("pointerleave", () => { if (document.activeElement !== canvas) point(-1); });
  canvas.addEventListener("click", (e) => { const k = nearest(e); Trials.choose(k >= 0 ? dots[k].i : -1); });
  canvas.addEventListener("blur", () => point(-1));
  canvas.addEventListener("keydown", (e) => {
    const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: dots.length - 1, PageDown: at + 25, PageUp: at - 25 }[e.key];
    if (to !== undefined && dots.length) {
      e.preventDefault();
      point(Math.min(dots.length - 1, Math.max(0, to)));
    } else if (e.key === "Enter" && at >= 0) {
      const { i } = dots[at];
      Trials.choose(i);
      Trials.alone(i);
    } else if (e.key === "Escape") {
      point(-1);
      Trials.choose(-1);
    }
  });
  const redraw = () => { at = -1; draw(); tellAbout(Trials.chosen); };
  metric.addEventListener("change", redraw);
  axis.addEventListener("change", redraw);
  Trials.on("change", redraw);
  Trials.on("choose", ({ i, scroll }) => {
    draw();
    tellAbout(i);
    if (scroll) about.scrollIntoView({ block: "nearest" });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  // drawn when it comes near the screen, and whenever its size changes
  new ResizeObserver(() => { draw(); if (at < 0) tellAbout(Trials.chosen); }).observe(canvas);
})();
