// The detector in the page: <div data-detector="site/">. Picture, network and boxes stay in this browser; nothing is sent anywhere.
// Here is what one sees; the work is done in detector-worker.js.
"use strict";
(() => {
  const BOX = "#ffb000", clamp = (v, a, b) => Math.min(b, Math.max(a, v));
  const RAMP = [[0, 0, 4], [81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]];   // the book's colours
  const tone = (v) => { const t = clamp(v, 0, 1) * 4, i = Math.min(3, Math.floor(t)); return RAMP[i].map((a, k) => a + (RAMP[i + 1][k] - a) * (t - i)); };
  const PROGRAM = 14.3;       // MB of the runtime, as they lie in the browser's memory; 3.7 when sent compressed
  const CAUSES = {
    offline: (m) => `You are offline: ${m}. Once loaded, it works without a network.`,
    unreachable: (m) => `${m}: the site did not answer. Try again.`,
    missing: (m) => `${m}. That is this site's mistake, not yours.`,
    picture: (m) => `That is not a picture this browser can read${m}. JPEG, PNG and WebP work everywhere.`,
    run: (m) => `The network did not run: ${m}.`,
  };
  function node(name, attributes = {}, ...children) {
    const e = document.createElement(name);
    Object.entries(attributes).forEach(([k, v]) => e.setAttribute(k, v));
    e.append(...children);
    return e;
  }

  function start(root) {
    const folder = new URL(root.dataset.detector, document.baseURI).href, canvas = node("canvas", { width: 640, height: 360, role: "img", "aria-label": "the picture with the boxes found in it" });
    const state = { threshold: .3, heat: true, picture: null, result: null, labels: null, last: null, turn: 0, workers: 0 };
    const said = node("p", { class: "cnb-note", "aria-live": "polite" }, "Choose a sample, or a photo of your own."), bar = node("progress", { hidden: "", "aria-label": "progress" });
    const file = node("input", { type: "file", accept: "image/*", class: "form-control", "aria-label": "a photo of your own" });
    const drop = node("div", { class: "cnb-drop" }, node("p", {}, "Drop a photo anywhere on this page, or choose a file. It never leaves your browser."), file);
    const samples = node("div", { class: "cnb-samples" }), credit = node("p", { class: "cnb-note" });
    const range = node("input", { type: "range", min: .05, max: .95, step: .01, value: state.threshold }), out = node("output", {}, "0.30");
    const tick = node("input", { type: "checkbox", checked: "" }), side = node("select", { "aria-label": "longest side the network sees, in pixels" });
    root.replaceChildren(said, bar, samples, drop, node("div", { class: "cnb-stage" }, canvas),
      node("label", { class: "cnb-slider" }, node("span", {}, "confidence at least"), range, out), node("div", { class: "cnb-choice" }, node("label", {}, tick, " show the heat"), node("label", {}, "the network sees ", side)), credit);
    root.classList.add("cnb-detector", "cnb-live");

    // ---- the worker: one, made at the first picture, which loads once
    let worker = null;
    function ask(message) {
      if (!worker) {
        worker = new Worker(`${folder}detector-worker.js`); state.workers++;
        worker.onmessage = ({ data }) => heard(data);
        worker.onerror = (e) => { worker = null; fail("missing", e.message || "The detector's script is missing on this site"); };
      }
      worker.postMessage(message, [message.picture.data.buffer]);
    }
    const whole = () => PROGRAM * 1e6 + (state.labels ? state.labels.bytes : 0);
    function heard(m) {
      if (m.kind === "loading") {
        bar.hidden = false; bar.max = whole(); bar.value = m.bytes;
        said.textContent = `Loading program and network, once: ${(m.bytes / 1e6).toFixed(1)} of ${(whole() / 1e6).toFixed(1)} MB.`;
      }
      if (m.turn !== undefined && m.turn !== state.turn) return;      // an older picture's answer never covers a newer one
      if (m.kind === "looking") { bar.hidden = false; bar.removeAttribute("value"); said.textContent = "Looking…"; }
      if (m.kind === "failed") fail(m.cause, m.message);
      if (m.kind === "found") { bar.hidden = true; state.result = m; draw(); root.dataset.state = "done"; }
    }
    function clear() { state.picture = state.result = null; root.dataset.count = 0; canvas.width = 640; canvas.height = 360; bar.hidden = true; }
    function fail(cause, message) { clear(); root.dataset.state = "failed"; root.dataset.cause = cause; said.textContent = CAUSES[cause](message); }

    // ---- drawing
    function dim(context) {  // darkened, so that the heat can be seen over any photo
      context.fillStyle = "rgba(0, 0, 0, .62)"; context.fillRect(0, 0, canvas.width, canvas.height);
    }
    function heat(context) {
      const { dims: [, C, h, w], fitted: f, heat: values } = state.result, paint = new ImageData(w, h);
      for (let i = 0; i < h * w; i++) {
        let v = 0;
        for (let c = 0; c < C; c++) v = Math.max(v, values[c * h * w + i]);
        v = Math.sqrt(v);
        paint.data.set([...tone(.25 + .75 * v), 255 * clamp(1.5 * (v - .12), 0, 1)], 4 * i);
      }
      const small = node("canvas", { width: w, height: h });
      small.getContext("2d").putImageData(paint, 0, 0);
      context.drawImage(small, 0, 0, f.W / f.factor, f.H / f.factor);
    }
    function draw() {
      const { picture, result } = state, context = canvas.getContext("2d");
      if (!picture) return;
      canvas.width = picture.width; canvas.height = picture.height;
      context.putImageData(picture, 0, 0);
      if (!result) return;
      if (state.heat) { dim(context); heat(context); }
      const shown = result.rows.filter((r) => r[5] >= state.threshold), unit = picture.width / Math.max(1, canvas.clientWidth || 640);   // picture's pixels in one of the screen's
      const many = (state.labels.names || []).length > 1, size = 12 * unit, taken = [];
      context.font = `600 ${size}px system-ui, sans-serif`; context.textBaseline = "middle";
      shown.forEach(([y, x, h, w]) => {
        context.lineWidth = 4 * unit; context.strokeStyle = "#000a"; context.strokeRect(x - w / 2, y - h / 2, w, h);
        context.lineWidth = 2 * unit; context.strokeStyle = BOX; context.strokeRect(x - w / 2, y - h / 2, w, h);
        if (!state.heat) return;
        context.beginPath(); context.arc(x, y, 4.5 * unit, 0, 7); context.lineWidth = 1.5 * unit; context.strokeStyle = "#fff"; context.stroke();
      });
      shown.forEach(([y, x, h, w, cls, c]) => {   // beside the box, where there is room and no other label; else none
        const text = (many ? `${state.labels.names[cls]} ` : "") + c.toFixed(2), wide = context.measureText(text).width + 6 * unit, high = size * 1.25;
        const places = [[x - w / 2, y - h / 2 - high - unit], [x - w / 2, y + h / 2 + unit], [x + w / 2 + unit, y - high / 2], [x - w / 2 - wide - unit, y - high / 2]];
        const free = places.find(([l, t]) => l >= 0 && t >= 0 && l + wide <= canvas.width && t + high <= canvas.height &&
          !taken.some(([L, T, W, H]) => l < L + W && L < l + wide && t < T + H && T < t + high) &&
          !shown.some(([Y, X, H, W]) => l < X + W / 2 && X - W / 2 < l + wide && t < Y + H / 2 && Y - H / 2 < t + high));
        if (!free) return;
        taken.push([free[0], free[1], wide, high]);
        context.fillStyle = "#000c"; context.fillRect(free[0], free[1], wide, high);
        context.fillStyle = BOX; context.fillText(text, free[0] + 3 * unit, free[1] + high / 2 + .05 * size);
      });
      root.dataset.count = shown.length;
      said.textContent = `${shown.length} box${shown.length === 1 ? "" : "es"} of confidence ${state.threshold.toFixed(2)} or more, in ${Math.round(result.ms)} ms in this browser.` +
        (state.labels.untrained ? " The network here is an untrained stand-in: it shows that the machinery runs, not that it sees." : "");
    }

    // ---- a picture comes in
    async function pixels(blob) {
      const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
      const shrink = Math.min(1, 4096 / Math.max(bitmap.width, bitmap.height));       // a phone's memory is small
      const copy = node("canvas", { width: Math.max(1, Math.round(bitmap.width * shrink)), height: Math.max(1, Math.round(bitmap.height * shrink)) });
      const context = copy.getContext("2d", { willReadFrequently: true });
      context.fillStyle = "#fff"; context.fillRect(0, 0, copy.width, copy.height);     // what is transparent is white, as in Python
      context.drawImage(bitmap, 0, 0, copy.width, copy.height);
      return context.getImageData(0, 0, copy.width, copy.height);
    }
    async function show(source) {  // a Blob, or the address of a picture of this site
      const turn = ++state.turn, late = () => turn !== state.turn;
      clear();
      root.dataset.state = "busy"; delete root.dataset.cause; state.last = source;
      let blob = source, picture;
      try {
        if (typeof source === "string") {
          const answer = await fetch(source).catch(() => { throw ["offline", "the sample could not be fetched"]; });
          if (!answer.ok) throw ["missing", "The sample is missing on this site"];
          blob = await answer.blob();
        }
        state.labels = await known();
        picture = await pixels(blob).catch(() => { throw ["picture", blob.name ? `: ${blob.name}` : ""]; });
      } catch (error) {
        if (late()) return;
        return fail(...(Array.isArray(error) ? error : ["run", error.message]));
      }
      if (late()) return;
      state.picture = picture;
      draw();
      const l = state.labels;
      said.textContent = "Looking…"; bar.hidden = false; bar.removeAttribute("value");
      ask({ turn, folder, size: +side.value, mean: l.mean || [.485, .456, .406], std: l.std || [.229, .224, .225],
        picture: { width: picture.width, height: picture.height, data: new Uint8ClampedArray(picture.data) } });
    }
    function own(photo) {
      credit.textContent = "";
      samples.querySelectorAll("button").forEach((b) => b.setAttribute("aria-pressed", "false"));
      show(photo);
    }

    // ---- labels and samples, each asked for once
    let promise = null;
    const known = () => promise = promise || fetch(`${folder}text.json`).catch(() => { throw ["offline", "the network's labels could not be fetched"]; })
      .then((r) => { if (!r.ok) throw ["missing", "The network's file is missing on this site"]; return r.json(); })
      .catch((error) => { promise = null; throw error; });
    known().then((labels) => {
      state.labels = labels;
      [...new Set([labels.size, 960, 640, 320])].filter((s) => s <= labels.size).forEach((s) => side.append(node("option", { value: s }, `${s} pixels${s === labels.size ? ": best" : ""}`)));   // half of what the model asks for is quicker by four
      side.value = Math.min(labels.size, 960);
      if (root.dataset.state) return;
      said.textContent = `Choose a sample, or a photo of your own. The first time, ${(whole() / 1e6).toFixed(1)} MB are loaded from this site: ${PROGRAM} of program, ${(labels.bytes / 1e6).toFixed(1)} of network.`;
    }).catch((error) => fail(...(Array.isArray(error) ? error : ["run", error.message])));
    fetch(`${folder}samples/samples.json`).then((r) => r.json()).then((list) => list.forEach((s) => {
      const button = node("button", { type: "button", "aria-pressed": "false", "aria-label": `Sample: ${s.alt}` }, node("img", { src: `${folder}samples/${s.file}`, alt: s.alt, loading: "lazy" }));
      button.addEventListener("click", () => {
        samples.querySelectorAll("button").forEach((b) => b.setAttribute("aria-pressed", String(b === button)));
        credit.textContent = `Photo: ${s.credit}.`;
        show(`${folder}samples/${s.file}`);
      });
      samples.append(button);
    })).catch(() => samples.append("The samples could not be fetched."));

    range.addEventListener("input", () => { state.threshold = +range.value; out.textContent = (+range.value).toFixed(2); draw(); });
    tick.addEventListener("change", () => { state.heat = tick.checked; draw(); });
    file.addEventListener("change", () => { if (file.files[0]) own(file.files[0]); });
    side.addEventListener("change", () => { if (state.last) show(state.last); });
    ["dragover", "dragleave", "drop"].forEach((name) => window.addEventListener(name, (e) => {   // anywhere: a photo dropped beside the box must not replace the page
      if (!e.dataTransfer || ![...e.dataTransfer.types].includes("Files")) return;
      e.preventDefault(); drop.classList.toggle("over", name === "dragover");
      if (name === "drop" && e.dataTransfer.files[0]) own(e.dataTransfer.files[0]);
    }));
    window.addEventListener("resize", draw);
    root.cnb = { state, show, pixels };
  }
  const begin = () => document.querySelectorAll("[data-detector]").forEach((root) => { if (!root.cnb) start(root); });
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin); else begin();
})();
