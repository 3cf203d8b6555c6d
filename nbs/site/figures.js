// Three figures that answer to a finger, a mouse or the arrow keys: <div data-figure="gaussian | overlap | peaks">.
// First the mathematics (the same formulas as the Python package, tested against it), then the drawing. No library, no network.
"use strict";
const CenterNet = (() => {
  // ---- the package's formulas: sizes and places in output pixels (cells), rows y first
  const overlaps = { original: 0.7, corrected: 0.7, later: 0.3 };
  function gaussianRadius(h, w, overlap, formula) {  // convert.gaussian_radius
    const o = overlap === undefined ? overlaps[formula] : overlap, s = h + w, area = h * w, k = formula === "original" ? 1 : 2;
    const root = (a, b, c) => Math.sqrt(Math.max(0, b * b - 4 * a * c));
    return Math.min(
      formula === "original" ? (s + root(1, s, area * (1 - o) / (1 + o))) / 2 : 2 * area * (1 - o) / (1 + o) / (s + root(1, s, area * (1 - o) / (1 + o))),
      formula === "original" ? (2 * s + root(4, 2 * s, area * (1 - o))) / 2 : 2 * area * (1 - o) / (2 * s + root(4, 2 * s, area * (1 - o))),
      formula === "original" ? (root(4 * o, -2 * o * s, area * (o - 1)) - 2 * o * s) / 2 : 2 * area * (1 - o) / (2 * o * s + root(4 * o, -2 * o * s, area * (o - 1))));
  }
  function worstIoU(h, w, r) {  // both corners of an h×w box moved by r: outwards, inwards, or the same way
    const clip = (v) => Math.max(0, v), inner = clip(h - 2 * r) * clip(w - 2 * r), shared = clip(h - r) * clip(w - r);
    return Math.min(h * w / ((h + 2 * r) * (w + 2 * r)), inner / (h * w), shared / (2 * h * w - shared));
  }
  function gaussian(H, W, y, x, radius, out, how = "max") {  // a peak of 1 in the cell of (y, x), laid over `out` by max or by sum
    const map = out || new Float64Array(H * W), r = Math.floor(radius), s = (2 * r + 1) / 6, cy = Math.floor(y), cx = Math.floor(x);
    for (let i = Math.max(0, cy - r); i <= Math.min(H - 1, cy + r); i++)
      for (let j = Math.max(0, cx - r); j <= Math.min(W - 1, cx + r); j++) {
        const v = Math.exp(-((i - cy) ** 2 + (j - cx) ** 2) / (2 * s * s));
        map[i * W + j] = how === "sum" ? map[i * W + j] + v : Math.max(map[i * W + j], v);
      }
    return map;
  }
  function focal(p, target, alpha = 2, beta = 4) {  // equation 1 for one map, before the division by N
    let sum = 0;
    target.forEach((y, i) => {
      const q = p.length === undefined ? p : p[i];
      sum -= y === 1 ? (1 - q) ** alpha * Math.log(Math.max(q, 1e-4)) : (1 - y) ** beta * q ** alpha * Math.log(Math.max(1 - q, 1e-4));
    });
    return sum;
  }
  function peaks(heat, H, W, kernel, floor) {  // [cell, …]: first largest cell of its window, in reading order
    const r = (kernel - 1) / 2, found = [];
    for (let i = 0; i < H; i++) for (let j = 0; j < W; j++) {
      const v = heat[i * W + j];
      if (!(v > 0 && v >= floor)) continue;
      let first = true;
      for (let y = Math.max(0, i - r); y <= Math.min(H - 1, i + r) && first; y++)
        for (let x = Math.max(0, j - r); x <= Math.min(W - 1, j + r); x++) {
          const before = y < i || (y === i && x < j), u = heat[y * W + x];
          if ((y !== i || x !== j) && (before ? u >= v : u > v)) { first = false; break; }
        }
      if (first) found.push(i * W + j);
    }
    return found;
  }
  function decode(points, H, W, kernel, floor) {  // points: {heat, dy, dx, h, w} → rows [y, x, h, w, class 0, confidence], best first
    return peaks(points.heat, H, W, kernel, floor).map((c) => [
      Math.floor(c / W) + points.dy[c], (c % W) + points.dx[c], points.h[c], points.w[c], 0, points.heat[c]]).sort((a, b) => b[5] - a[5]);
  }
  function scene(H, W) {  // a made-up prediction: five objects, their weaker echoes, a little noise; always the same
    let seed = 7;
    const random = () => (seed = (seed * 1103515245 + 12345) % 2147483648) / 2147483648;
    const objects = [[9.3, 11.6, 10, 12, .93], [10.5, 22.2, 12, 8, .81], [24.7, 14.4, 9, 16, .74], [21.2, 33.8, 14, 14, .62], [8.4, 38.1, 7, 9, .38]];
    const points = { heat: new Float64Array(H * W), dy: new Float64Array(H * W), dx: new Float64Array(H * W), h: new Float64Array(H * W), w: new Float64Array(H * W) };
    const nearest = new Float64Array(H * W).fill(Infinity);
    objects.forEach(([y, x, h, w, confidence]) => {
      const r = gaussianRadius(h, w, .3, "corrected"), bump = gaussian(H, W, y, x, r), echo = gaussian(H, W, y + 1.2, x + 2.6, 1);
      for (let c = 0; c < H * W; c++) {
        const i = Math.floor(c / W), j = c % W, away = (i - y) ** 2 + (j - x) ** 2;
        points.heat[c] = Math.max(points.heat[c], confidence * bump[c], .72 * confidence * echo[c]);
        if (away >= nearest[c]) continue;
        nearest[c] = away;
        points.h[c] = h * (1 + .05 * Math.sin(i)); points.w[c] = w * (1 + .05 * Math.cos(j));
        points.dy[c] = y - Math.floor(y); points.dx[c] = x - Math.floor(x);
      }
    });
    for (let c = 0; c < H * W; c++) points.heat[c] = Math.min(1, points.heat[c] + .06 * random());
    return points;
  }
  return { gaussianRadius, worstIoU, gaussian, focal, peaks, decode, scene, overlaps };
})();

if (typeof document !== "undefined") (() => {
  const N = CenterNet, SVG = "http://www.w3.org/2000/svg", clamp = (v, a, b) => Math.min(b, Math.max(a, v));
  const COLOURS = ["#e8590c", "#1c7ed6", "#2b8a3e"];
  const ramp = [[0, 0, 4], [81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]];  // dark to bright, also in shades of grey
  function tone(v) {
    const t = clamp(v, 0, 1) * (ramp.length - 1), i = Math.min(ramp.length - 2, Math.floor(t));
    return ramp[i].map((a, k) => Math.round(a + (ramp[i + 1][k] - a) * (t - i)));
  }
  function node(name, attributes = {}, ...children) {
    const e = name.startsWith("svg:") ? document.createElementNS(SVG, name.slice(4)) : document.createElement(name);
    Object.entries(attributes).forEach(([k, v]) => e.setAttribute(k, v));
    e.append(...children);
    return e;
  }
  function board(H, W, label) {  // cells on a canvas, below an SVG whose units are cells
    const canvas = node("canvas", { width: W, height: H, role: "img", "aria-label": label });
    const svg = node("svg:svg", { viewBox: `0 0 ${W} ${H}`, class: "cnb-over" });
    const box = node("div", { class: "cnb-board", style: `aspect-ratio: ${W} / ${H}` }, canvas, svg), context = canvas.getContext("2d");
    function paint(map, beyond) {  // `beyond`: paint cells above 1 in this colour
      const image = context.createImageData(W, H);
      map.forEach((v, c) => image.data.set([...(beyond && v > 1.0000001 ? beyond : tone(v)), 255], 4 * c));
      context.putImageData(image, 0, 0);
    }
    return { box, svg, canvas, paint };
  }
  function arrows(handle, label, move) {  // move(dy, dx) in cells by the arrow keys
    Object.entries({ tabindex: 0, role: "button", "aria-label": `${label}: drag, or press the arrow keys`, class: `${handle.getAttribute("class") || ""} cnb-handle` }).forEach(([k, v]) => handle.setAttribute(k, v));
    handle.addEventListener("keydown", (e) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[e.key];
      if (step) { e.preventDefault(); move(...step); }
    });
  }
  function dragging(handle, svg, move, pick = () => handle) {  // move(dy, dx, what `pick` chose) by pointer: mouse, pen, touch
    let last = null, held = null;
    const place = (e) => { const m = svg.getScreenCTM(); return [(e.clientY - m.f) / m.d, (e.clientX - m.e) / m.a]; };
    handle.addEventListener("pointerdown", (e) => { last = place(e); held = pick(...last); handle.setPointerCapture(e.pointerId); e.preventDefault(); if (handle.tabIndex >= 0) handle.focus({ preventScroll: true }); });
    handle.addEventListener("pointermove", (e) => { if (!last) return; const p = place(e); move(p[0] - last[0], p[1] - last[1], held); last = p; });
    ["pointerup", "pointercancel"].forEach((n) => handle.addEventListener(n, () => { last = null; }));
  }
  function draggable(handle, svg, label, move) {  // by both
    arrows(handle, label, move);
    dragging(handle, svg, move);
  }
  function legend(...entries) {  // [mark, words], …; the mark is a character in a colour, or the scale of the heat
    return node("p", { class: "cnb-legend" }, ...entries.map(([colour, mark, words]) => node("span", {}, mark ? node("span", { class: "cnb-mark", style: `color: ${colour}` }, mark) : node("span", { class: "cnb-ramp" }), words)));
  }
  const HEAT = ["", "", "heat, from 0 to 1"];
  function slider(label, min, max, step, value, changed, show = (v) => v) {
    const input = node("input", { type: "range", min, max, step, value }), out = node("output", {}, String(show(value)));
    input.addEventListener("input", () => { out.textContent = show(+input.value); changed(+input.value); });
    return { row: node("label", { class: "cnb-slider" }, node("span", {}, label), input, out), input };
  }
  function table(head, rows) {  // rows of [key, label]; returns cells by `key-column`
    const cells = {}, body = rows.map(([key, label]) => node("tr", {}, node("th", { scope: "row" }, label), ...head.slice(1).map((h, i) => (cells[`${key}-${i}`] = node("td", {})))));
    return { table: node("table", { class: "cnb-table" }, node("thead", {}, node("tr", {}, ...head.map((h) => node("th", { scope: "col" }, h)))), node("tbody", {}, ...body)), cells };
  }
  const set = (e, attributes) => Object.entries(attributes).forEach(([k, v]) => e.setAttribute(k, v));
  const rect = (e, y, x, h, w) => set(e, { x: x - w / 2, y: y - h / 2, width: Math.max(0, w), height: Math.max(0, h) });

  let serial = 0;
  const FIGURES = {
    gaussian(root) {
      const H = 26, W = 44, s = { y: 13.5, x: 22.5, h: 10, w: 20, formula: "later" }, names = ["original", "corrected", "later"];
      const b = board(H, W, "heat of one box's centre on a grid of 26 by 44 cells");
      const worst = node("svg:rect", { class: "cnb-worst" }), box = node("svg:rect", { class: "cnb-box" });
      const circles = names.map((n, i) => node("svg:circle", { class: "cnb-ring", stroke: COLOURS[i] }));
      const corner = node("svg:circle", { class: "cnb-corner", r: .7 });
      b.svg.append(worst, ...circles, box, corner);
      const t = table(["formula", "radius", "in cells", "σ", "worst IoU"], [["original", "original, overlap 0.7"], ["corrected", "corrected, 0.7"], ["later", "later work, 0.3"]]);
      const choose = node("fieldset", { class: "cnb-choice" }, node("legend", {}, "Heat drawn by"), ...names.map((n, i) => {
        const radio = node("input", { type: "radio", name: `cnb-formula-${serial}`, value: n, ...(n === s.formula ? { checked: "" } : {}) });
        radio.addEventListener("change", () => { s.formula = n; draw(); });
        return node("label", {}, radio, node("span", { style: `color: ${COLOURS[i]}` }, "● "), n);
      }));
      const size = node("p", { class: "cnb-note" });
      function draw() {
        b.paint(N.gaussian(H, W, s.y, s.x, N.gaussianRadius(s.h, s.w, undefined, s.formula)));
        rect(box, s.y, s.x, s.h, s.w);
        set(corner, { cx: s.x + s.w / 2, cy: s.y + s.h / 2 });
        names.forEach((n, i) => {
          const r = N.gaussianRadius(s.h, s.w, undefined, n), whole = Math.floor(r);
          set(circles[i], { cx: Math.floor(s.x) + .5, cy: Math.floor(s.y) + .5, r });
          [r.toFixed(3), whole, ((2 * whole + 1) / 6).toFixed(3), N.worstIoU(s.h, s.w, r).toFixed(3)].forEach((v, k) => { t.cells[`${n}-${k}`].textContent = v; });
          if (n === s.formula) rect(worst, s.y, s.x, ...shrunk(r));
        });
        size.textContent = `Box: ${s.h.toFixed(1)} × ${s.w.toFixed(1)} cells (height × width).`;
      }
      function shrunk(r) {  // the worst of the two cases that keep the centre
        const inner = Math.max(0, s.h - 2 * r) * Math.max(0, s.w - 2 * r) / (s.h * s.w), outer = s.h * s.w / ((s.h + 2 * r) * (s.w + 2 * r));
        return inner < outer ? [s.h - 2 * r, s.w - 2 * r] : [s.h + 2 * r, s.w + 2 * r];
      }
      draggable(box, b.svg, "box", (dy, dx) => { s.y = clamp(s.y + dy, 0, H - .01); s.x = clamp(s.x + dx, 0, W - .01); draw(); });
      draggable(corner, b.svg, "corner of the box", (dy, dx) => { s.h = clamp(s.h + 2 * dy, 1, H); s.w = clamp(s.w + 2 * dx, 1, W); draw(); });
      root.append(b.box, legend(HEAT, ["#888", "□", "the box: drag it, stretch it by its corner"], ["#888", "╌", "the worst box that the radius still calls near"], ...names.map((n, i) => [COLOURS[i], "○", `radius, ${n}`])), size, choose, t.table);
      draw();
      return { state: s, draw };
    },

    overlap(root) {
      const H = 21, W = 48, s = { a: 20.5, b: 26.5, sizeA: 20, sizeB: 14, p: .1 }, y = 10.5;
      const boards = ["max", "sum"].map((how) => ({ how, ...board(H, W, `heat of two boxes, combined by ${how}`) }));
      const plot = node("svg:svg", { viewBox: `0 0 ${W} 25`, class: "cnb-plot", role: "img", "aria-label": "values and weights along the middle row" });
      const lines = { sum: node("svg:path", { class: "cnb-line", stroke: COLOURS[0] }), max: node("svg:path", { class: "cnb-line", stroke: COLOURS[1] }) };
      const bars = { sum: node("svg:path", { class: "cnb-bars", fill: COLOURS[0] }), max: node("svg:path", { class: "cnb-bars", fill: COLOURS[1] }) };
      const base = 13.5, unit = 6, low = 24.5, weight = 8;
      plot.append(node("svg:line", { x1: 0, x2: W, y1: base - unit, y2: base - unit, class: "cnb-one" }), node("svg:line", { x1: 0, x2: W, y1: base, y2: base, class: "cnb-axis" }),
        node("svg:line", { x1: 0, x2: W, y1: low, y2: low, class: "cnb-axis" }), bars.sum, bars.max, lines.sum, lines.max,
        node("svg:text", { x: .3, y: base - unit - .4, class: "cnb-text" }, "Y = 1"), node("svg:text", { x: .3, y: low - weight - .6, class: "cnb-text" }, "weight (1 − Y)⁴ of a negative"));
      const handles = ["a", "b"].map((k) => boards.map((b) => node("svg:rect", { class: "cnb-box" })));
      const letters = ["A", "B"].map((k) => boards.map(() => node("svg:text", { class: "cnb-letter" }, k)));
      boards.forEach((b, n) => b.svg.append(handles[0][n], handles[1][n], letters[0][n], letters[1][n]));
      const t = table(["", "by max", "by sum"], [["top", "largest value"], ["positive", "cells with Y = 1: the positives"], ["beyond", "cells above 1"], ["mid", "weight halfway between the centres"], ["loss", "focal loss of a flat prediction"]]);
      function radius(size) { return N.gaussianRadius(size, size, .3, "corrected"); }
      function draw() {
        const mid = Math.floor((s.a + s.b) / 2);
        boards.forEach((b, n) => {
          const map = N.gaussian(H, W, y, s.a, radius(s.sizeA));
          N.gaussian(H, W, y, s.b, radius(s.sizeB), map, b.how);
          b.paint(map, b.how === "sum" ? [0, 220, 255] : null);
          rect(handles[0][n], y, s.a, s.sizeA, s.sizeA); rect(handles[1][n], y, s.b, s.sizeB, s.sizeB);
          set(letters[0][n], { x: s.a - .6, y: y - s.sizeA / 2 + 1.9 }); set(letters[1][n], { x: s.b - .6, y: y + s.sizeB / 2 - .5 });
          const row = Array.from({ length: W }, (_, j) => map[Math.floor(y) * W + j]);
          lines[b.how].setAttribute("d", row.map((v, j) => `${j ? "L" : "M"}${j + .5} ${(base - unit * v).toFixed(3)}`).join(""));
          bars[b.how].setAttribute("d", row.map((v, j) => v === 1 ? "" : `M${j + (n ? .5 : .1)} ${low}h.4v${(-weight * Math.min(1, (1 - v) ** 4)).toFixed(3)}h-.4z`).join(""));
          [["top", Math.max(...map).toFixed(3)], ["positive", map.filter((v) => v === 1).length], ["beyond", map.filter((v) => v > 1).length],
            ["mid", (row[mid] === 1 ? 0 : (1 - row[mid]) ** 4).toFixed(4)], ["loss", N.focal(s.p, map).toFixed(4)]].forEach(([k, v]) => { t.cells[`${k}-${n}`].textContent = v; });
        });
      }
      const shift = (k, dx) => { s[k] = clamp(s[k] + dx, .5, W - .5); draw(); };
      ["a", "b"].forEach((k, i) => boards.forEach((b, n) => arrows(handles[i][n], `box ${k.toUpperCase()}, combined by ${b.how}`, (dy, dx) => shift(k, dx))));
      boards.forEach((b) => dragging(b.svg, b.svg, (dy, dx, held) => shift(held, dx), (py, px) => Math.abs(px - s.a) <= Math.abs(px - s.b) ? "a" : "b"));   // the box whose centre is nearer: each can be taken at its own
      const controls = [slider("side of box A", 2, 20, 1, s.sizeA, (v) => { s.sizeA = v; draw(); }), slider("side of box B", 2, 20, 1, s.sizeB, (v) => { s.sizeB = v; draw(); }),
        slider("prediction p everywhere", .01, .99, .01, s.p, (v) => { s.p = v; draw(); })];
      root.append(node("div", { class: "cnb-pair" }, ...boards.map((b) => node("figure", {}, b.box, node("figcaption", {}, `combined by ${b.how}`)))), plot, legend(HEAT, ["#00a5bf", "■", "above 1"], [COLOURS[1], "—", "by max"], [COLOURS[0], "—", "by sum"], ["#888", "▮", "bars: weight (1 − Y)⁴ of a negative"]), ...controls.map((c) => c.row), t.table);
      draw();
      return { state: s, draw };
    },

    peaks(root) {
      const H = 32, W = 48, points = N.scene(H, W), s = { floor: .3, kernel: 3 };
      const b = board(H, W, "a predicted heatmap of 32 by 48 cells"), layer = node("svg:g", {});
      b.svg.append(layer);
      b.paint(points.heat);
      const said = node("p", { class: "cnb-note", "aria-live": "polite" }), t = node("table", { class: "cnb-table" });
      function draw() {
        const rows = N.decode(points, H, W, s.kernel, s.floor);
        layer.replaceChildren(...rows.slice(0, 100).flatMap(([y, x, h, w, , c], i) => [
          node("svg:rect", { class: "cnb-found", stroke: COLOURS[i % 3], x: x - w / 2, y: y - h / 2, width: w, height: h }),
          node("svg:circle", { class: "cnb-peak", cx: x, cy: y, r: .5, fill: COLOURS[i % 3] })]));
        root.dataset.count = rows.length;
        said.textContent = `${rows.length} peak${rows.length === 1 ? "" : "s"}: ${s.kernel === 1 ? "every cell above the threshold" : `the largest cell of its ${s.kernel}×${s.kernel} window`}, at least ${s.floor.toFixed(2)} bright.${rows.length > 100 ? " The best 100 are drawn and listed." : ""}`;
        t.replaceChildren(node("thead", {}, node("tr", {}, ...["", "y", "x", "h", "w", "confidence"].map((h) => node("th", { scope: "col" }, h)))),
          node("tbody", {}, ...rows.slice(0, 100).map((r, i) => node("tr", {}, node("td", { style: `color: ${COLOURS[i % 3]}` }, "□"), ...[0, 1, 2, 3, 5].map((k) => node("td", {}, r[k].toFixed(3)))))));
      }
      const floor = slider("threshold", .02, .98, .01, s.floor, (v) => { s.floor = v; draw(); }, (v) => (+v).toFixed(2));
      const kernel = slider("window", 1, 15, 2, s.kernel, (v) => { s.kernel = v; draw(); }, (v) => `${v}×${v}`);
      root.append(b.box, legend(HEAT, ["#888", "●", "a peak"], ["#888", "□", "the box read off it, in the colour of its row"]), said, floor.row, kernel.row, node("div", { class: "cnb-scroll", tabindex: 0, role: "region", "aria-label": "the boxes, best first" }, t));
      draw();
      return { state: s, draw, points, H, W };
    },
  };

  function start() {
    document.querySelectorAll("[data-figure]").forEach((root) => {
      if (root.cnb || !FIGURES[root.dataset.figure]) return;
      root.replaceChildren();           // the still picture that stands here without JavaScript
      root.classList.add("cnb-live");
      root.setAttribute("role", "group");
      serial++;
      root.cnb = FIGURES[root.dataset.figure](root);
    });
  }
  window.CenterNetFigures = Object.assign(N, { ui: { node, slider, tone, set } });    // for apart.js
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start); else start();
})();
if (typeof module !== "undefined") module.exports = CenterNet;
