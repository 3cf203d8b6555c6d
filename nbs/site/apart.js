// A detector to take apart: <div data-apart="site/">. One photo and everything the network makes of it, each map a picture, all linked.
// It starts with maps computed beforehand (tools/take_apart.py), loaded when seen; a photo of one's own loads the network, in a worker.
// Needs figures.js, whose formulas it uses: those of the Python package.
"use strict";
(() => {
  const N = window.CenterNetFigures, { node, slider, tone, set } = N.ui, clamp = (v, a, b) => Math.min(b, Math.max(a, v));
  const SVG = "svg:", pause = () => new Promise((next) => setTimeout(next));
  const TONES = Uint32Array.from({ length: 256 }, (_, i) => tone(i / 255).reduce((sum, v, k) => sum + v * 256 ** k, 255 * 256 ** 3));
  const DARK = TONES.map((v) => [0, 8, 16].reduce((sum, k) => sum + (((v >> k & 255) * .35) << k), 255 * 256 ** 3));   // where the heat is low nobody was asked for offset or size
  const PROGRAM = 14.3e6;   // bytes of the runtime
  const FRACTION = (s) => s === 1 ? "1" : `1/${s}`;

  // ---- maps: {h, w, planes: [Float32Array], range: [[low, high]]}
  async function stored(folder) {
    const about = await (await fetch(`${folder}apart/maps.json`)).json(), file = await fetch(`${folder}apart/maps.bin`);
    const bytes = await new Response(file.body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
    const maps = {};
    for (const [name, { at, kind, shape: [c, h, w], scale }] of Object.entries(about.parts)) {
      const steps = new (kind === "u2" ? Uint16Array : Uint8Array)(bytes, at, c * h * w), most = kind === "u2" ? 65535 : 255, n = h * w;
      maps[name] = { h, w, range: scale, planes: [] };
      for (const [k, [low, high]] of scale.entries()) {
        const plane = new Float32Array(n), unit = (high - low) / most;
        for (let i = 0; i < n; i++) plane[i] = low + unit * steps[k * n + i];
        maps[name].planes.push(plane);
        await pause();
      }
    }
    const born = about.born.map((name, k) => ({ name, ...points([maps[`heat_${k}`], maps[`rest_${k}`]]) }));
    const photo = await createImageBitmap(await (await fetch(`${folder}apart/${about.photo}`)).blob());
    return { ...about, photo, maps: about.maps.map((m) => ({ ...m, ...maps[m.output] })), born: [...born, { name: "finished", ...points([maps.points]) }] };
  }
  function points(parts) {  // class maps, offset and size → {h, w, heat, dy, dx, bh, bw}
    const { h, w } = parts[0], planes = parts.flatMap((p) => p.planes), [dy, dx, bh, bw] = planes.slice(-4), classes = planes.slice(0, -4);
    const heat = classes.length === 1 ? classes[0] : classes[0].map((_, i) => Math.max(...classes.map((c) => c[i])));
    return { h, w, heat, dy, dx, bh, bw };
  }
  function paint(canvas, { h, w }, plane, [low, high], heat, root) {
    canvas.width = w; canvas.height = h;
    const image = new ImageData(w, h), out = new Uint32Array(image.data.buffer), unit = 255 / (high - low || 1);
    for (let i = 0; i < out.length; i++) out[i] = (heat && heat[i] < .05 ? DARK : TONES)[clamp(root ? 255 * Math.sqrt(plane[i] / high) : (plane[i] - low) * unit, 0, 255) | 0];
    canvas.getContext("2d").putImageData(image, 0, 0);
  }

  // ---- what is to be seen: tiles {key, title, s: pixels a cell, field, paint(canvas), at(y, x) → text}
  function tiles(view, state) {
    const now = () => view.born[state.born], cell = (m, s, y, x) => Math.min(m.h - 1, Math.floor(y / s)) * m.w + Math.min(m.w - 1, Math.floor(x / s));
    const picture = (canvas) => { canvas.width = view.width; canvas.height = view.height; canvas.getContext("2d").drawImage(view.photo, 0, 0); };
    const output = (key, title, name, range, masked, root) => ({ key, title, s: view.stride, field: view.field, paint: (c) => paint(c, now(), now()[name], range(), masked && now().heat, root), at: (y, x) => now()[name][cell(now(), view.stride, y, x)].toFixed(2) });
    const reach = (name) => [0, Math.max(1, ...view.born.at(-1)[name].filter((_, i) => view.born.at(-1).heat[i] > .2))];
    const stages = view.maps.map((m, k) => ({ key: `map-${k}`, title: `${m.up ? "up" : "stage"}, ${FRACTION(m.stride)}`, s: m.stride, field: m.field, stage: true,
      more: `${m.up ? "upscaled" : "a stage of the backbone"}, ${m.channels} channels; a cell is ${m.stride} pixels wide and sees ${m.field[1] - m.field[0] + 1}`,
      paint: (c) => paint(c, m, m.planes[state.channel], m.range[state.channel]), at: (y, x) => m.planes[state.channel][cell(m, m.stride, y, x)].toFixed(2) }));
    const sees = `sees ${view.field[1] - view.field[0] + 1} pixels`;
    return [{ key: "photo", title: "photo", s: 1, paint: picture, at: (y, x) => `${y | 0}, ${x | 0}`, more: "the squares are what the maps see of it around the point" }, ...stages,
      { ...output("heat", "heat", "heat", () => [0, 1], false, true), more: `the probability that a word's centre is in the cell, drawn as its root so that weak heat shows; ${sees}` },
      { ...output("peaks", "peaks", "heat", () => [0, 2], false, true), marks: "svg:circle", more: "the cells that stay: largest of their window, over the threshold" },
      { ...output("dy", "offset y", "dy", () => [0, 1], true), more: "where in the cell the centre is, from its upper edge" }, { ...output("dx", "offset x", "dx", () => [0, 1], true), more: "and from its left edge" },
      { ...output("bh", "height", "bh", () => reach("bh"), true), more: "of the box, in cells" }, { ...output("bw", "width", "bw", () => reach("bw"), true), more: "of the box, in cells" },
      { key: "boxes", title: "boxes", s: view.stride, field: view.field, paint: picture, marks: "svg:rect", at: () => `${state.rows.length}`, more: "read off the peaks" }];
  }
  function box(p, c, R) {  // the formula: cell c → row [y, x, h, w, confidence], and what it is made of
    const i = Math.floor(c / p.w), j = c % p.w;
    return { i, j, dy: p.dy[c], dx: p.dx[c], bh: p.bh[c], bw: p.bw[c], row: [R * (i + p.dy[c]), R * (j + p.dx[c]), R * p.bh[c], R * p.bw[c], p.heat[c]] };
  }

  function start(root, first) {
    const folder = new URL(root.dataset.apart, document.baseURI).href;
    const state = { born: 0, channel: 0, threshold: first.threshold, window: 3, shown: "boxes", point: [0, 0], chosen: 0, rows: [], turn: 0 };
    let view, list, boards, big;
    const said = node("p", { class: "cnb-note", "aria-live": "polite" }), bar = node("progress", { hidden: "", "aria-label": "progress" }), credit = node("p", { class: "cnb-note" });
    const stage = node("div", { class: "cnb-large" }), strip = node("div", { class: "cnb-strip" }), formula = node("div", { class: "cnb-formula", "aria-live": "polite" });
    const file = node("input", { type: "file", accept: "image/*", class: "form-control", "aria-label": "take apart what the network makes of a photo of your own" });

    // ---- pictures
    function board(tile, label) {
      const canvas = node("canvas", { role: "img", "aria-label": label }), svg = node(SVG + "svg", { viewBox: `0 0 ${view.width} ${view.height}`, class: "cnb-over" });
      const marks = node(SVG + "g"), fields = (tile && tile.key !== "photo" ? [tile] : list).map(() => node(SVG + "rect", { class: "cnb-field" })), cell = node(SVG + "rect", { class: "cnb-cell" }), ring = node(SVG + "circle", { class: "cnb-light", r: view.width / 28 });
      svg.append(...fields, marks, cell, ring);
      return { box: node("div", { class: "cnb-board", style: `aspect-ratio: ${view.width} / ${view.height}` }, canvas, svg), canvas, svg, marks, fields, cell, ring, tile };
    }
    function mark(b) {  // peaks or boxes on the pictures that show them
      const kind = b.tile.marks;
      b.marks.replaceChildren(...(kind ? state.rows : []).map(([y, x, h, w]) => kind === "svg:circle" ? node(kind, { class: "cnb-summit", cx: x, cy: y, r: view.width / 70 }) : node(kind, { class: "cnb-boxed", x: x - w / 2, y: y - h / 2, width: Math.max(0, w), height: Math.max(0, h) })));
    }
    function light(b) {  // the pointed place: its cell, a ring, and what the cell sees
      const [y, x] = state.point, { s } = b.tile, i = Math.floor(y / s), j = Math.floor(x / s);
      set(b.cell, { x: j * s, y: i * s, width: s, height: s });
      set(b.ring, { cx: (j + .5) * s, cy: (i + .5) * s });
      const all = b.tile.key === "photo" ? list : [b.tile];
      b.fields.forEach((e, k) => {
        const t = all[k], seen = t && t.field, p = t && t.s;
        set(e, seen ? { x: Math.floor(x / p) * p + seen[0], y: Math.floor(y / p) * p + seen[0], width: seen[1] - seen[0] + 1, height: seen[1] - seen[0] + 1 } : { width: 0, height: 0 });
      });
      if (b.value) b.value.textContent = b.tile.at(y, x);
    }
    function point(y, x) {
      state.point = [clamp(y, 0, view.height - .01), clamp(x, 0, view.width - .01)];
      boards.forEach(light); light(big);
    }
    function choose() {  // the pointed cell
      state.chosen = Math.floor(state.point[0] / view.stride) * view.born[0].w + Math.floor(state.point[1] / view.stride);
      tell();
    }
    function tell() {  // the chosen cell's numbers, put into the formula
      const p = view.born[state.born], R = view.stride, b = box(p, state.chosen, R), [y, x, h, w, heat] = b.row, f = (v, n = 2) => v.toFixed(n);
      const around = neighbour(p, b, state.window), high = heat >= state.threshold;
      const verdict = around ? `no peak: the cell (${around}) of its ${state.window}×${state.window} window is brighter` : high ? "a peak, and over the threshold: it becomes a box" : `a peak, but under the threshold of ${f(state.threshold)}: no box`;
      const line = (name, text) => node("div", {}, node("span", {}, name), node("code", {}, text));
      formula.replaceChildren(node("p", {}, node("strong", {}, `Cell (${b.i}, ${b.j}): `), `heat ${f(heat, 3)}, ${verdict}.`),
        line("y", `${R} · (${b.i} + ${f(b.dy)}) = ${f(y, 1)}`), line("x", `${R} · (${b.j} + ${f(b.dx)}) = ${f(x, 1)}`), line("h", `${R} · ${f(b.bh)} = ${f(h, 1)}`), line("w", `${R} · ${f(b.bw)} = ${f(w, 1)}`),
        node("p", { class: "cnb-note" }, `A box around (${f(y, 0)}, ${f(x, 0)}), ${f(h, 0)} pixels high and ${f(w, 0)} wide: ${R} pixels a cell, times row or column plus offset, and times the size.`));
      big.pick.replaceChildren(node(SVG + "rect", { class: "cnb-picked", x: x - w / 2, y: y - h / 2, width: Math.max(0, w), height: Math.max(0, h) }));
    }
    function neighbour(p, { i, j }, size) {  // the cell that keeps this one from being a peak, "" where there is none
      const r = (size - 1) / 2, v = p.heat[i * p.w + j];
      for (let a = Math.max(0, i - r); a <= Math.min(p.h - 1, i + r); a++) for (let b = Math.max(0, j - r); b <= Math.min(p.w - 1, j + r); b++) {
        const u = p.heat[a * p.w + b], before = a < i || (a === i && b < j);
        if ((a !== i || b !== j) && (before ? u >= v : u > v)) return `${a}, ${b}`;
      }
      return "";
    }
    function decode() {  // peaks and boxes, for threshold, window and checkpoint as they are
      const p = view.born[state.born];
      state.rows = N.peaks(p.heat, p.h, p.w, state.window, state.threshold).map((c) => box(p, c, view.stride).row).sort((a, b) => b[4] - a[4]).slice(0, 100);
      root.dataset.count = state.rows.length;
      [...boards, big].forEach((b) => { mark(b); light(b); });
      tell();
    }
    async function repaint(which = () => true) {
      const turn = ++state.turn;
      for (const b of [big, ...boards]) if (which(b.tile)) {
        b.tile.paint(b.canvas);
        await pause();
        if (turn !== state.turn) return;
      }
      root.dataset.state = "done";
    }
    function show(key) {
      state.shown = key;
      big.tile = list.find((t) => t.key === key);
      boards.forEach((b) => b.button.setAttribute("aria-pressed", String(b.tile === big.tile)));
      big.caption.replaceChildren(node("strong", {}, big.tile.title), big.tile.more ? `: ${big.tile.more}` : "");
      big.tile.paint(big.canvas); mark(big); light(big);
    }

    // ---- a view: the stored photo, or one's own
    async function open(next) {
      view = next; state.born = view.born.length - 1; list = tiles(view, state);
      big = board(null, "the chosen picture, enlarged");
      big.tile = list.at(-1); big.caption = node("p", { class: "cnb-note" }); big.pick = node(SVG + "g");
      big.svg.insertBefore(big.pick, big.cell);
      set(big.box, { tabindex: 0, role: "group", "aria-label": "The chosen picture, enlarged. Arrow keys move the point by a cell, with Shift by eight; Enter puts the cell's numbers into the formula." });
      boards = list.map((tile) => {
        const b = board(tile, `${tile.title}: what the network has there`);
        b.value = node("output", {});
        b.button = node("button", { type: "button", class: `cnb-tile${tile.stage ? " cnb-stage-map" : ""}`, "aria-pressed": "false" }, b.box, node("span", {}, tile.title), b.value);
        b.button.addEventListener("click", () => show(tile.key));
        return b;
      });
      stage.replaceChildren(big.box, big.caption);
      strip.replaceChildren(...boards.map((b) => b.button));
      rows.born.row.hidden = view.born.length < 2; rows.born.input.max = state.born; rows.born.input.value = state.born; rows.born.row.querySelector("output").textContent = view.born[state.born].name;
      rows.channel.input.max = Math.min(...view.maps.map((m) => m.planes.length)) - 1;
      [...boards, big].forEach((b) => b.box.addEventListener("pointermove", (e) => point(...place(e, b))));
      [...boards, big].forEach((b) => b.box.addEventListener("pointerup", (e) => { point(...place(e, b)); choose(); }));
      big.box.addEventListener("keydown", (e) => {
        const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[e.key], far = view.stride * (e.shiftKey ? 8 : 1);
        if (step) point(state.point[0] + far * step[0], state.point[1] + far * step[1]);
        else if (e.key === "Enter" || e.key === " ") choose();
        else return;
        e.preventDefault();
      });
      const p = view.born[state.born], best = p.heat.indexOf(p.heat.reduce((a, b) => Math.max(a, b), 0));
      state.point = [(Math.floor(best / p.w) + .5) * view.stride, (best % p.w + .5) * view.stride];
      state.chosen = best;
      strip.classList.remove("cnb-early");
      decode(); show(state.shown);
      await repaint();
    }
    function place(e, b) {
      const r = b.box.getBoundingClientRect();
      return [(e.clientY - r.top) / r.height * view.height, (e.clientX - r.left) / r.width * view.width];
    }

    // ---- what is set
    const names = ["mean of all", "the strongest", "the second", "the third", "the fourth", "the fifth", "the sixth", "the seventh"];
    const outputs = (t) => !t.stage && t.key !== "photo" && t.key !== "boxes";
    const rows = {
      born: slider("training", 0, first.born.length - 1, 1, first.born.length - 1, (v) => {
        state.born = v; strip.classList.toggle("cnb-early", v < view.born.length - 1);
        decode(); repaint(outputs);
      }, (v) => (view || first).born[v].name),
      threshold: slider("threshold", .05, .95, .01, state.threshold, (v) => { state.threshold = v; decode(); }, (v) => (+v).toFixed(2)),
      window: slider("window", 1, 15, 2, state.window, (v) => { state.window = v; decode(); }, (v) => `${v}×${v}`),
      channel: slider("channel", 0, 7, 1, 0, (v) => { state.channel = v; boards.forEach(light); repaint((t) => t.stage); }, (v) => names[v]),
    };

    // ---- a photo of one's own: the network comes, once, and hands out the same maps
    let worker = null, labels = null, asked = 0;
    async function own(photo) {
      const turn = ++asked;
      root.dataset.state = "busy"; bar.hidden = false; bar.removeAttribute("value"); said.textContent = "Loading program and network…";
      try { labels = labels || await (await fetch(`${folder}text.json`)).json(); }
      catch { bar.hidden = true; root.dataset.state = "failed"; said.textContent = "The network could not be fetched: are you offline?"; return; }
      if (!worker) {
        worker = new Worker(`${folder}detector-worker.js`);
        worker.onmessage = ({ data }) => heard(data);
        worker.onerror = () => { worker = null; heard({ kind: "failed", turn: asked, message: "the detector's script is missing on this site" }); };
      }
      worker.postMessage({ turn, folder, blob: photo, size: Math.min(labels.size, 640), mean: labels.mean || [.485, .456, .406], std: labels.std || [.229, .224, .225], maps: ["points", ...labels.maps.map((m) => m.output)] });
    }
    function heard(m) {
      if (m.kind === "loading") {
        bar.max = PROGRAM + labels.bytes; bar.value = m.bytes;
        said.textContent = `Loading program and network, once: ${(m.bytes / 1e6).toFixed(1)} of ${((PROGRAM + labels.bytes) / 1e6).toFixed(1)} MB.`;
      }
      if (m.turn !== undefined && m.turn !== asked) return;      // an older photo's answer
      if (m.kind === "looking") { bar.removeAttribute("value"); said.textContent = "Looking…"; }
      if (m.kind === "failed") { bar.hidden = true; root.dataset.state = "failed"; said.textContent = `That did not work: ${m.message}.`; }
      if (m.kind !== "found") return;
      const [all, ...maps] = m.maps;
      bar.hidden = true; said.textContent = `Your photo, in ${Math.round(m.ms)} ms in this browser. It was not sent anywhere.`; credit.textContent = "";
      open({ ...first, photo: m.photo, width: m.fitted.W, height: m.fitted.H, stride: labels.stride, field: labels.field, maps: labels.maps.map((l, k) => ({ ...l, ...maps[k] })), born: [{ name: "your photo", ...points([all]) }] });
    }
    file.addEventListener("change", () => { if (file.files[0]) own(file.files[0]); });

    root.replaceChildren(node("div", { class: "cnb-apart" }, stage, formula), strip, node("div", { class: "cnb-settings" }, ...Object.values(rows).map((r) => r.row)), node("label", { class: "cnb-own" }, node("span", {}, "own photo"), file), bar, said, credit);
    root.classList.add("cnb-live");
    credit.textContent = `Photo: ${first.credit}. No training has seen it.`;
    root.cnb = { state, get view() { return view; }, get list() { return list; }, point, choose, own };
    return open(first);
  }

  async function begin(root) {
    root.dataset.state = "busy";
    try { await start(root, await stored(new URL(root.dataset.apart, document.baseURI).href)); }
    catch (error) { root.dataset.state = "failed"; root.append(node("p", { class: "cnb-note" }, `The picture stands still: ${error.message}.`)); }
  }
  const seen = new IntersectionObserver((entries) => entries.forEach((e) => { if (e.isIntersecting) { seen.unobserve(e.target); begin(e.target); } }), { rootMargin: "200px" });
  const look = () => document.querySelectorAll("[data-apart]").forEach((root) => seen.observe(root));
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", look); else look();
})();
