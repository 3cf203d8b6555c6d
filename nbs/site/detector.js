// The detector in the page: <div data-detector="site/">. Picture, network and boxes stay in this browser; nothing is sent anywhere.
// The preparation of the picture is that of `OnnxDetector.detect`, pixel by pixel, so that the boxes are those of the Python package.
"use strict";
(() => {
  const COLOUR = "#ff7518", clamp = (v, a, b) => Math.min(b, Math.max(a, v));
  const even = (v) => { const r = Math.round(v); return Math.abs(v % 1) === .5 && r % 2 ? r - 1 : r; };  // Python's round
  function node(name, attributes = {}, ...children) {
    const e = document.createElement(name);
    Object.entries(attributes).forEach(([k, v]) => e.setAttribute(k, v));
    e.append(...children);
    return e;
  }

  function weights(from, to) {  // Pillow's BILINEAR: a triangle as wide as the shrinking, for each new pixel [first old pixel, weights]
    const scale = from / to, filter = Math.max(1, scale);
    return Array.from({ length: to }, (_, i) => {
      const centre = (i + .5) * scale, first = Math.max(0, Math.trunc(centre - filter + .5)), last = Math.min(from, Math.trunc(centre + filter + .5));
      const w = Array.from({ length: last - first }, (_, k) => Math.max(0, 1 - Math.abs((k + first - centre + .5) / filter))), sum = w.reduce((a, b) => a + b, 0);
      return [first, w.map((v) => v / sum)];
    });
  }
  function resize(rgba, W, H, w, h) {  // bytes → RGB bytes; sideways first, then downwards, rounded between, as Pillow does
    const across = weights(W, w), down = weights(H, h), middle = new Uint8ClampedArray(H * w * 3), out = new Uint8ClampedArray(h * w * 3);
    for (let y = 0; y < H; y++) for (let x = 0; x < w; x++) for (let c = 0; c < 3; c++) {
      const [first, k] = across[x];
      let s = 0;
      for (let i = 0; i < k.length; i++) s += k[i] * rgba[(y * W + first + i) * 4 + c];
      middle[(y * w + x) * 3 + c] = Math.floor(s + .5);
    }
    for (let y = 0; y < h; y++) {
      const [first, k] = down[y];
      for (let j = 0; j < w * 3; j++) {
        let s = 0;
        for (let i = 0; i < k.length; i++) s += k[i] * middle[(first + i) * w * 3 + j];
        out[y * w * 3 + j] = Math.floor(s + .5);
      }
    }
    return out;
  }
  function fit(image, size, mean, std) {  // deploy.fit: shrunken, normalised, padded to multiples of 32
    const factor = size / Math.max(image.width, image.height), w = Math.max(1, even(image.width * factor)), h = Math.max(1, even(image.height * factor));
    const W = Math.ceil(w / 32) * 32, H = Math.ceil(h / 32) * 32, x = new Float32Array(3 * H * W), rgb = resize(image.data, image.width, image.height, w, h);
    for (let c = 0; c < 3; c++) for (let i = 0; i < h; i++) for (let j = 0; j < w; j++)
      x[(c * H + i) * W + j] = (Math.fround(rgb[(i * w + j) * 3 + c] / 255) - mean[c]) / std[c];
    return { x, H, W, h, w, factor };
  }

  function start(root) {
    const folder = new URL(root.dataset.detector, document.baseURI).href, canvas = node("canvas", { width: 640, height: 360, role: "img", "aria-label": "the picture with the boxes found in it" });
    const state = { threshold: .3, heat: true, picture: null, result: null, labels: null, session: null, last: null };
    const said = node("p", { class: "cnb-note", "aria-live": "polite" }, "Choose a sample, or a photo of your own. The first time, 15 MB of program and the network are loaded from this site.");
    const file = node("input", { type: "file", accept: "image/*", class: "form-control", "aria-label": "a photo of your own" });
    const drop = node("div", { class: "cnb-drop" }, node("p", {}, "Drop a photo here, or choose a file. It never leaves your browser."), file);
    const samples = node("div", { class: "cnb-samples" }), credit = node("p", { class: "cnb-note" });
    const range = node("input", { type: "range", min: .05, max: .95, step: .01, value: state.threshold }), out = node("output", {}, "0.30");
    const tick = node("input", { type: "checkbox", checked: "" }), side = node("select", { "aria-label": "longest side the network sees, in pixels" });
    root.replaceChildren(said, samples, drop, node("div", { class: "cnb-stage" }, canvas),
      node("label", { class: "cnb-slider" }, node("span", {}, "confidence at least"), range, out), node("div", { class: "cnb-choice" }, node("label", {}, tick, " show the heat"), node("label", {}, "the network sees ", side)), credit);
    root.classList.add("cnb-detector", "cnb-live");

    async function load() {  // labels, runtime and network, once
      if (state.session) return;
      said.textContent = "Loading the network…";
      if (!window.ort) await new Promise((resolve, reject) => {
        const s = node("script", { src: `${folder}vendor/onnxruntime-web/ort.wasm.min.js` });
        s.onload = resolve; s.onerror = () => reject(new Error("the runtime did not load"));
        document.head.append(s);
      });
      ort.env.wasm.numThreads = 1;      // more threads would need headers that a plain web server does not send
      ort.env.wasm.wasmPaths = `${folder}vendor/onnxruntime-web/`;
      state.session = await ort.InferenceSession.create(`${folder}text.onnx`, { executionProviders: ["wasm"] });
    }
    async function detect(image) {  // ImageData → rows [y, x, h, w, class, confidence] in the picture's pixels, best first, and the heat
      const l = state.labels, f = fit(image, +side.value, l.mean || [.485, .456, .406], l.std || [.229, .224, .225]), begin = performance.now();
      const got = await state.session.run({ images: new ort.Tensor("float32", f.x, [1, 3, f.H, f.W]) });
      const rows = [], d = got.objects.data, k = got.objects.dims[1];
      for (let i = 0; i < k; i++) if (d[6 * i + 5] > 0) rows.push([0, 1, 2, 3].map((c) => d[6 * i + c] / f.factor).concat(d[6 * i + 4], d[6 * i + 5]));
      return { rows, fitted: f, heat: got.heat.data, dims: got.heat.dims, ms: performance.now() - begin };
    }
    function draw() {
      const { picture, result } = state, context = canvas.getContext("2d");
      if (!picture) return;
      canvas.width = picture.width; canvas.height = picture.height;
      context.putImageData(picture, 0, 0);
      if (!result) return;
      if (state.heat) {
        const [, C, h, w] = result.dims, paint = new ImageData(w, h), f = result.fitted;
        for (let i = 0; i < h * w; i++) {
          let v = 0;
          for (let c = 0; c < C; c++) v = Math.max(v, result.heat[c * h * w + i]);
          paint.data.set([255, 80 + 140 * v, 0, 210 * clamp(v, 0, 1)], 4 * i);
        }
        const small = node("canvas", { width: w, height: h });
        small.getContext("2d").putImageData(paint, 0, 0);
        context.drawImage(small, 0, 0, f.W / f.factor, f.H / f.factor);
      }
      const shown = result.rows.filter((r) => r[5] >= state.threshold), line = Math.max(2, picture.width / 320);
      context.lineWidth = line; context.font = `${Math.round(6 * line)}px sans-serif`;
      shown.forEach(([y, x, h, w, cls, c]) => {
        context.strokeStyle = COLOUR; context.strokeRect(x - w / 2, y - h / 2, w, h);
        const text = `${(state.labels.names || [])[cls] || cls} ${c.toFixed(2)}`, wide = context.measureText(text).width + 6, top = Math.max(0, y - h / 2 - 8 * line);
        context.fillStyle = COLOUR; context.fillRect(x - w / 2, top, wide, 8 * line);
        context.fillStyle = "#000"; context.fillText(text, x - w / 2 + 3, top + 6.3 * line);
      });
      root.dataset.count = shown.length;
      said.textContent = `${shown.length} box${shown.length === 1 ? "" : "es"} of confidence ${state.threshold.toFixed(2)} or more, in ${Math.round(result.ms)} ms in this browser.` +
        (state.labels.untrained ? " The network here is an untrained stand-in: it shows that the machinery runs, not that it sees." : "");
    }
    async function show(source) {  // a Blob, or the address of a picture of this site
      try {
        root.dataset.state = "busy"; state.last = source;
        await known;
        const blob = typeof source === "string" ? await (await fetch(source)).blob() : source;
        const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
        const shrink = Math.min(1, 4096 / Math.max(bitmap.width, bitmap.height));       // a phone's memory is small
        const copy = node("canvas", { width: Math.max(1, Math.round(bitmap.width * shrink)), height: Math.max(1, Math.round(bitmap.height * shrink)) });
        const context = copy.getContext("2d", { willReadFrequently: true });
        context.drawImage(bitmap, 0, 0, copy.width, copy.height);
        state.picture = context.getImageData(0, 0, copy.width, copy.height); state.result = null;
        draw();
        await load();
        said.textContent = "Looking…";
        await new Promise((next) => setTimeout(next, 30));
        state.result = await detect(state.picture);
        draw();
        root.dataset.state = "done";
      } catch (error) {
        root.dataset.state = "failed";
        said.textContent = `That did not work: ${error.message}. Is it a picture (JPEG, PNG or WebP)?`;
      }
    }
    range.addEventListener("input", () => { state.threshold = +range.value; out.textContent = (+range.value).toFixed(2); draw(); });
    tick.addEventListener("change", () => { state.heat = tick.checked; draw(); });
    file.addEventListener("change", () => { if (file.files[0]) { credit.textContent = ""; show(file.files[0]); } });
    ["dragover", "dragleave", "drop"].forEach((name) => drop.addEventListener(name, (e) => {
      e.preventDefault(); drop.classList.toggle("over", name === "dragover");
      if (name === "drop" && e.dataTransfer.files[0]) { credit.textContent = ""; show(e.dataTransfer.files[0]); }
    }));
    side.addEventListener("change", () => { if (state.last) show(state.last); });
    const known = fetch(`${folder}text.json`).then((r) => r.json()).then((labels) => {      // half of what the model asks for is quicker by four
      state.labels = labels;
      [...new Set([labels.size, 960, 640, 320])].filter((s) => s <= labels.size).forEach((s) => side.append(node("option", { value: s }, `${s} pixels${s === labels.size ? ": best" : ""}`)));
      side.value = Math.min(labels.size, 960);
    });
    fetch(`${folder}samples/samples.json`).then((r) => r.json()).then((list) => list.forEach((s) => {
      const button = node("button", { type: "button", "aria-pressed": "false", "aria-label": `Sample: ${s.alt}` }, node("img", { src: `${folder}samples/${s.file}`, alt: s.alt }));
      button.addEventListener("click", () => {
        samples.querySelectorAll("button").forEach((b) => b.setAttribute("aria-pressed", String(b === button)));
        credit.textContent = `Photo: ${s.credit}.`;
        show(`${folder}samples/${s.file}`);
      });
      samples.append(button);
    }));
    root.cnb = { state, show, fit, resize };
  }
  const begin = () => document.querySelectorAll("[data-detector]").forEach((root) => { if (!root.cnb) start(root); });
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin); else begin();
})();
