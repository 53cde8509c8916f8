// Descent, played: all arms move together over maps of the surfaces.
(() => {
  const holder = document.getElementById("descent-data");
  if (!holder) return;
  const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const REACH = 4095, BANDS = 10, SECONDS = 14;
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const value = Object.fromEntries([...DIGITS].map((c, i) => [c, i]));
  const tone = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  for (const [name, data] of Object.entries(JSON.parse(holder.textContent))) {
    const figure = document.querySelector(`figure[data-plays="${name}"]`);
    if (figure) player(figure, data);
  }

  function player(figure, data) {
    const root = figure.querySelector(".player"), maps = root.querySelector(".maps");
    const slider = root.querySelector("input"), output = root.querySelector("output");
    const said = root.querySelector(".said");
    const button = root.querySelector(".play"), speed = root.querySelector(".speed");
    const last = data.steps[data.steps.length - 1], window_ = root.querySelector(".window");
    let end = data.opens; // of what is played now: the first steps, or all
    const shown = data.arms.map(() => true);
    let now = end, playing = false, before = 0;
    slider.max = end;
    slider.value = end;
    window_.hidden = end === last;
    window_.querySelector("select").append(new Option(`first ${end} steps`, end), new Option(`all ${last} steps`, last));
    window_.addEventListener("change", (event) => {
      stop();
      now = end = Number(event.target.value);
      slider.max = end;
      paint();
      tell();
    });

    const places = data.places.map((place) => {
      const box = document.createElement("div"), head = document.createElement("h4");
      const count = document.createElement("span"), canvas = document.createElement("canvas");
      box.className = "map";
      head.append(place.title.replaceAll("_", " "), count);
      canvas.setAttribute("role", "img");
      box.append(head, canvas);
      maps.append(box);
      const size = Math.sqrt(place.heights.length / 2);
      const heights = Float32Array.from({ length: size * size }, (_, i) =>
        (value[place.heights[2 * i]] * 64 + value[place.heights[2 * i + 1]]) / REACH);
      return { ...place, canvas, count, size, heights, ground: null, key: "" };
    });

    // the map: bands of height, each shaded by the page's ink, lowest darkest
    function ground(p, width, height) {
      const key = `${width} ${height} ${dark.matches}`;
      if (p.key === key) return p.ground;
      p.key = key;
      p.ground = document.createElement("canvas");
      p.ground.width = width;
      p.ground.height = height;
      const pen = p.ground.getContext("2d"), image = pen.createImageData(width, height);
      const ink = parseInt(tone("--ink").slice(1), 16), n = p.size, z = p.heights;
      const shade = Array.from({ length: BANDS + 1 }, (_, b) => Math.round(255 * 0.3 * (1 - b / BANDS) ** 1.3));
      for (let j = 0, o = 0; j < height; j++) {
        const v = (j / (height - 1)) * (n - 1), r = Math.min(n - 2, v | 0), fv = v - r;
        for (let i = 0; i < width; i++, o += 4) {
          const u = (i / (width - 1)) * (n - 1), c = Math.min(n - 2, u | 0), fu = u - c, q = r * n + c;
          const h = (z[q] * (1 - fu) + z[q + 1] * fu) * (1 - fv) + (z[q + n] * (1 - fu) + z[q + n + 1] * fu) * fv;
          image.data[o] = ink >> 16;
          image.data[o + 1] = (ink >> 8) & 255;
          image.data[o + 2] = ink & 255;
          image.data[o + 3] = shade[Math.min(BANDS, (h * BANDS) | 0)];
        }
      }
      pen.putImageData(image, 0, 0);
      return p.ground;
    }

    function paint() {
      const ink = tone("--ink"), paper = tone("--paper"), ratio = Math.min(2, devicePixelRatio || 1);
      const there = data.arms.map(() => 0);
      for (const p of places) {
        const width = Math.round(p.canvas.clientWidth * ratio), height = Math.round(p.canvas.clientHeight * ratio);
        if (!width || !height) continue;
        if (p.canvas.width !== width || p.canvas.height !== height) { p.canvas.width = width; p.canvas.height = height; }
        const pen = p.canvas.getContext("2d");
        const X = (v) => (v / REACH) * width, Y = (v) => (v / REACH) * height;
        pen.clearRect(0, 0, width, height);
        pen.drawImage(ground(p, width, height), 0, 0);
        let k = p.steps.length - 1; // the last recorded step that has come
        while (k > 0 && p.steps[k] > now) k--;
        const part = k + 1 < p.steps.length ? (now - p.steps[k]) / (p.steps[k + 1] - p.steps[k]) : 0;
        let arrived = 0, moving = 0, first = null;
        p.paths.forEach((path, a) => {
          if (!path || !path.x.length) return;
          const home = path.there !== null && path.there <= now;
          there[a] += home;
          if (!shown[a]) return;
          moving++;
          arrived += home;
          if (home && (first === null || path.there < p.paths[first].there)) first = a;
          const at = Math.min(k, path.x.length - 1);
          let x = path.x[at], y = path.y[at];
          pen.beginPath();
          pen.moveTo(X(path.x[0]), Y(path.y[0]));
          for (let i = 1; i <= at; i++) pen.lineTo(X(path.x[i]), Y(path.y[i]));
          if (k < path.x.length - 1) {
            x += part * (path.x[k + 1] - x);
            y += part * (path.y[k + 1] - y);
            pen.lineTo(X(x), Y(y));
          }
          pen.strokeStyle = data.arms[a].colour;
          pen.lineWidth = 1.5 * ratio;
          pen.lineJoin = "round";
          pen.setLineDash(data.arms[a].dash.map((d) => d * 1.5 * ratio));
          pen.stroke();
          pen.setLineDash([]);
          pen.beginPath();
          pen.arc(X(x), Y(y), 4 * ratio, 0, 7);
          pen.fillStyle = data.arms[a].colour;
          pen.fill();
          pen.lineWidth = ratio;
          pen.strokeStyle = home ? ink : paper;
          pen.stroke();
        });
        pen.lineWidth = 1.2 * ratio;
        pen.strokeStyle = ink;
        pen.beginPath();
        pen.arc(X(p.start[0]), Y(p.start[1]), 5 * ratio, 0, 7);
        pen.stroke();
        for (const [x, y] of p.minima) star(pen, X(x), Y(y), 6 * ratio, paper, ink);
        const tally = `${arrived} of ${moving} there`;
        p.count.textContent = first === null ? tally : `first ${data.arms[first].label}, ${p.paths[first].there}`;
        p.count.title = tally;
      }
      if (!playing) describe();
      output.textContent = Math.round(now);
      slider.value = now;
      slider.setAttribute("aria-valuetext", `step ${Math.round(now)} of ${end}`);
      there.forEach((n, a) => { tallies[a].textContent = `${n}/${places.filter((p) => p.paths[a]).length}`; });
    }
    function star(pen, x, y, r, fill, stroke) {
      pen.beginPath();
      for (let i = 0; i < 10; i++) {
        const s = i % 2 ? r * 0.42 : r, t = (Math.PI / 5) * i - Math.PI / 2;
        pen.lineTo(x + s * Math.cos(t), y + s * Math.sin(t));
      }
      pen.closePath();
      pen.fillStyle = fill;
      pen.fill();
      pen.strokeStyle = stroke;
      pen.stroke();
    }

    const tallies = data.arms.map((arm, a) => {
      const toggle = document.createElement("button"), tally = document.createElement("small");
      toggle.type = "button";
      toggle.setAttribute("aria-pressed", "true");
      toggle.innerHTML = '<svg viewBox="0 0 34 14" aria-hidden="true"><path d="M1 7H33" fill="none" stroke-width="3"/></svg>';
      const path = toggle.querySelector("path");
      path.setAttribute("stroke", arm.colour);
      path.setAttribute("stroke-dasharray", arm.dash.map((d) => d * 3).join(" "));
      toggle.append(`${arm.label} `, tally);
      tally.title = "surfaces on which it has reached the target";
      toggle.addEventListener("click", () => {
        shown[a] = !shown[a];
        toggle.setAttribute("aria-pressed", String(shown[a]));
        paint();
        tell(`${arm.label} ${shown[a] ? "shown" : "hidden"}.`);
      });
      root.querySelector(".legend").append(toggle);
      return tally;
    });

    function say() {
      button.querySelector("span").textContent = playing ? "Pause" : "Play";
      button.setAttribute("aria-label", playing ? "Pause the descent" : "Play the descent");
      button.querySelector("path").setAttribute("d", playing ? "M2 1h3v10h-3zM7 1h3v10h-3z" : "M2 1l9 5-9 5z");
    }
    // What the maps show, for those who do not see them: said where they stand still, not at every frame.
    function describe() {
      for (const p of places) {
        p.canvas.setAttribute("aria-label", `${p.title.replaceAll("_", " ")} at step ${Math.round(now)}: ${p.count.title}`
          + (p.count.textContent === p.count.title ? "" : `, ${p.count.textContent}`));
      }
    }
    let waiting = 0;
    function tell(before = "") {
      clearTimeout(waiting);
      waiting = setTimeout(() => {
        const where = places.map((p) => `${p.title.replaceAll("_", " ")} ${p.count.title}`).join(", ");
        said.textContent = `${before} Step ${Math.round(now)} of ${end}: ${where}.`.trim();
      }, 250);
    }
    function move(to) { stop(); now = Math.min(end, Math.max(0, to)); paint(); tell(); }
    function stop() {
      if (playing) tell(now < end ? "Paused." : "Ended.");
      playing = false;
      say();
    }
    function frame(time) {
      if (!playing) return;
      const past = Math.min(100, time - before) / 1000;
      before = time;
      now = Math.min(end, now + (past * end * Number(speed.value)) / SECONDS);
      if (now >= end) stop();
      paint();
      if (playing) requestAnimationFrame(frame);
    }
    function jump() { // with less motion wanted: ten still pictures, a second each
      if (!playing) return;
      now = Math.min(end, now + end / 10);
      if (now >= end) stop();
      paint();
      if (playing) setTimeout(jump, 1000);
    }
    function start() {
      if (playing) { stop(); paint(); return; }
      if (now >= end) now = 0;
      playing = true;
      say();
      paint();
      if (still.matches) setTimeout(jump, 1000);
      else requestAnimationFrame((time) => { before = time; requestAnimationFrame(frame); });
    }
    button.addEventListener("click", start);
    slider.addEventListener("input", () => move(Number(slider.value)));
    const keys = {
      " ": start, ArrowLeft: () => move(Math.ceil(now) - 1), ArrowRight: () => move(Math.floor(now) + 1),
      Home: () => move(0), End: () => move(end),
    };
    root.querySelector(".back").addEventListener("click", keys.ArrowLeft);
    root.querySelector(".on").addEventListener("click", keys.ArrowRight);
    maps.addEventListener("keydown", (event) => {
      if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      keys[event.key]();
    });
    dark.addEventListener("change", paint);
    root.hidden = false;
    figure.classList.add("playing");
    new ResizeObserver(paint).observe(maps);
  }
})();
