// The detector's other thread: it loads runtime and network once, shrinks a picture and runs the network, so that the page never waits.
// The preparation of the picture is that of `OnnxDetector.detect`, pixel by pixel, so that the boxes are those of the Python package.
"use strict";
let ready = null, newest = 0;

class Failure extends Error { constructor(cause, message) { super(message); this.cause = cause; } }

const even = (v) => { const r = Math.round(v); return Math.abs(v % 1) === .5 && r % 2 ? r - 1 : r; };  // Python's round
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
function fit({ data, width, height }, size, mean, std) {  // deploy.fit: shrunken, normalised, padded to multiples of 32
  const factor = size / Math.max(width, height), w = Math.max(1, even(width * factor)), h = Math.max(1, even(height * factor));
  const W = Math.ceil(w / 32) * 32, H = Math.ceil(h / 32) * 32, x = new Float32Array(3 * H * W), rgb = resize(data, width, height, w, h);
  for (let c = 0; c < 3; c++) for (let i = 0; i < h; i++) for (let j = 0; j < w; j++)
    x[(c * H + i) * W + j] = (Math.fround(rgb[(i * w + j) * 3 + c] / 255) - mean[c]) / std[c];
  return { x, H, W, h, w, factor };
}

async function drawn(blob) {  // a file → pixels, what is transparent white, as in Python
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" }).catch(() => { throw new Failure("picture", "it is not a picture this browser can read"); });
  const shrink = Math.min(1, 4096 / Math.max(bitmap.width, bitmap.height)), size = [bitmap.width, bitmap.height].map((v) => Math.max(1, Math.round(v * shrink)));
  const canvas = new OffscreenCanvas(...size), context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff"; context.fillRect(0, 0, ...size); context.drawImage(bitmap, 0, 0, ...size);
  return Object.assign(context.getImageData(0, 0, ...size), { canvas });
}
function planes({ data, dims: [, c, h, w] }) {  // a map, channel by channel, each with its least and greatest value
  const cut = Array.from({ length: c }, (_, k) => data.slice(k * h * w, (k + 1) * h * w));
  return { h, w, planes: cut, range: cut.map((p) => p.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity])) };
}
function shown(canvas, f) {
  const copy = new OffscreenCanvas(f.W, f.H);
  copy.getContext("2d").drawImage(canvas, 0, 0, f.w, f.h);
  return copy.transferToImageBitmap();
}

async function bytes(address, what, told) {  // a file, counted as it comes in
  let answer;
  try { answer = await fetch(address); }
  catch { throw new Failure(navigator.onLine ? "unreachable" : "offline", `${what} could not be fetched`); }
  if (!answer.ok) throw new Failure("missing", `${what} is missing on this site (${answer.status})`);
  const parts = [], reader = answer.body.getReader();
  for (let size = 0; ;) {
    let part;
    try { part = await reader.read(); } catch { throw new Failure(navigator.onLine ? "unreachable" : "offline", `${what} broke off`); }
    if (part.done) break;
    parts.push(part.value); told(size += part.value.length);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}
async function load(folder) {
  const seen = {}, tell = (name) => (n) => { seen[name] = n; postMessage({ kind: "loading", bytes: Object.values(seen).reduce((a, b) => a + b, 0) }); };
  const runtime = `${folder}vendor/onnxruntime-web/`;
  const [network, program] = await Promise.all([bytes(`${folder}text.onnx`, "The network's file", tell("network")), bytes(`${runtime}ort-wasm-simd-threaded.wasm`, "The runtime", tell("program"))]);
  try { importScripts(`${runtime}ort.wasm.min.js`); } catch { throw new Failure("missing", "The runtime's script is missing on this site"); }
  ort.env.wasm.numThreads = 1;      // more threads would need headers that a plain web server does not send
  ort.env.wasm.wasmPaths = runtime;
  ort.env.wasm.wasmBinary = program.buffer;
  return ort.InferenceSession.create(network, { executionProviders: ["wasm"] });
}

onmessage = async ({ data: asked }) => {
  newest = Math.max(newest, asked.turn);
  try {
    ready = ready || load(asked.folder);
    const session = await ready.catch((error) => { ready = null; throw error; });
    await new Promise((next) => setTimeout(next));
    if (asked.turn < newest) return;              // a newer picture waits already
    postMessage({ kind: "looking", turn: asked.turn });
    const begin = performance.now(), picture = asked.picture || await drawn(asked.blob), f = fit(picture, asked.size, asked.mean, asked.std);
    const got = await session.run({ images: new ort.Tensor("float32", f.x, [1, 3, f.H, f.W]) }, ["objects", "heat", ...(asked.maps || [])]);
    const rows = [], d = got.objects.data, k = got.objects.dims[1];
    for (let i = 0; i < k; i++) if (d[6 * i + 5] > 0) rows.push([0, 1, 2, 3].map((c) => d[6 * i + c] / f.factor).concat(d[6 * i + 4], d[6 * i + 5]));
    delete f.x;
    const answer = { kind: "found", turn: asked.turn, rows, fitted: f, heat: got.heat.data, dims: got.heat.dims, ms: performance.now() - begin };
    if (!asked.maps) return postMessage(answer);
    const maps = asked.maps.map((name) => planes(got[name])), photo = shown(picture.canvas, f);
    postMessage({ ...answer, maps, photo }, [photo, ...maps.flatMap((m) => m.planes.map((p) => p.buffer))]);
  } catch (error) {
    postMessage({ kind: "failed", turn: asked.turn, cause: error.cause || "run", message: error.message });
  }
};
