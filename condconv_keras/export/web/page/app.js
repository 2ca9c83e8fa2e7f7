// The page of a model that `python -m export --formats=web` has written. It takes a photo from a file or the camera,
// prepares it exactly as evaluation does, runs the model in LiteRT.js, and shows what it answers.

import {Tensor, loadAndCompile, loadLiteRt} from "./litert/litert.js";

const TOP = 5;
const RUNS = 50; // whose median is the latency
const LEAST_MS = 10; // of a measurement: a browser's clock may have steps of one millisecond
const ROUTING = "routing/"; // begins the names of the outputs that have routing weights
const COLORS = ["#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#00a0a0", "#f032e6", "#808000"];

const $ = id => document.getElementById(id);
let card, file, model, stream;
let input, picture; // of the last photo: what the model was given, and what is shown
export let last = null; // what was answered to it: a dict of the name of an output to its numbers

// ---- Preparing a photo, as docs/mobile.md describes it
/** Red, green, blue and alpha of a picture, a byte each, as they are stored: no color is managed, none is blended. */
function pixelsOf(bitmap) {
  const {width, height} = bitmap;
  const gl = document.createElement("canvas").getContext("webgl");
  if (gl && Math.max(width, height) <= gl.getParameter(gl.MAX_TEXTURE_SIZE)) {
    const data = new Uint8Array(4 * width * height), texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
    gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, data);
    const failed = gl.getError();
    gl.getExtension("WEBGL_lose_context")?.loseContext(); // a browser keeps a few of them only
    if (!failed) return data;
  }
  // A 2D canvas multiplies colors by alpha: it has none where a picture is transparent.
  const canvas = Object.assign(document.createElement("canvas"), {width, height});
  const context = canvas.getContext("2d", {willReadFrequently: true});
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, width, height).data;
}

/** The model's input, height x width x channels in 0..255: channels, center crop, antialiased resize. */
function prepare({width, height}, rgba) {
  const {input_size: [rows, columns], channels, interpolation, crop_fraction: fraction} = card.preprocessing;
  const [top, cropRows] = crop(height, width * (rows / columns), fraction);
  const [left, cropColumns] = crop(width, height * (columns / rows), fraction);
  const across = taps(cropColumns, columns, interpolation), down = taps(cropRows, rows, interpolation);
  const narrow = new Float32Array(cropRows * columns * channels);
  const line = new Float32Array(cropColumns * channels);
  for (let y = 0, to = 0; y < cropRows; y++) {
    for (let x = 0, from = 4 * ((top + y) * width + left); x < cropColumns; x++, from += 4) {
      if (channels === 1) line[x] = 0.2989 * rgba[from] + 0.587 * rgba[from + 1] + 0.114 * rgba[from + 2];
      else for (let k = 0; k < 3; k++) line[3 * x + k] = rgba[from + k];
    }
    for (const {first, weights} of across) {
      for (let k = 0; k < channels; k++, to++) {
        let sum = 0;
        for (let i = 0; i < weights.length; i++) sum += weights[i] * line[(first + i) * channels + k];
        narrow[to] = sum;
      }
    }
  }
  const small = new Float32Array(rows * columns * channels), size = columns * channels;
  down.forEach(({first, weights}, y) => {
    for (let j = 0; j < size; j++) {
      let sum = 0;
      for (let i = 0; i < weights.length; i++) sum += weights[i] * narrow[(first + i) * size + j];
      small[y * size + j] = Math.min(Math.max(sum, 0), 255); // bicubic overshoots at edges
    }
  });
  return small;
}

/** Begin and length of the center crop of a side; `limit` is what the other side leaves at the input's aspect ratio. */
function crop(side, limit, fraction) {
  if (fraction === 1) return [0, side];
  const box = Math.fround(Math.min(side, Math.fround(limit)));
  const length = Math.max(1, Math.floor(Math.fround(Math.fround(fraction) * box)));
  return [Math.floor((side - length + 1) / 2), length];
}

/** For each of `count` outputs its first input and the weights of all that it averages: more where an image shrinks. */
function taps(side, count, interpolation) {
  const scale = side / count, stretch = Math.max(scale, 1);
  const radius = (interpolation === "bicubic" ? 2 : 1) * stretch;
  return Array.from({length: count}, (_, output) => {
    const center = (output + 0.5) * scale;
    const first = Math.max(0, Math.floor(center - radius)), last = Math.min(side, Math.ceil(center + radius));
    const weights = Array.from({length: last - first},
      (_, i) => kernel(Math.abs(first + i + 0.5 - center) / stretch, interpolation));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return {first, weights: weights.map(weight => weight / sum)};
  });
}

function kernel(x, interpolation) {
  if (interpolation === "bilinear") return Math.max(0, 1 - x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

/** The file without its EXIF orientation, by which browsers turn a photo: for a model that was not trained so. */
async function asStored(photo) {
  const bytes = new Uint8Array(await photo.arrayBuffer());
  const word = at => 256 * bytes[at] + bytes[at + 1];
  if (word(0) !== 0xffd8) return photo; // no JPEG
  for (let at = 2; bytes[at] === 0xff && bytes[at + 1] !== 0xda; at += 2 + word(at + 2)) {
    if (bytes[at + 1] === 0xe1) bytes[at + 4] = 0; // what was "Exif" is nothing that a decoder knows
  }
  return new Blob([bytes]);
}

// ---- Running the model
/** Answers a prepared input; returns a dict of the name of an output to its numbers. */
async function run(values) {
  const [{name, shape}] = model.getInputDetails();
  const tensor = new Tensor(values, [...shape]), answer = {};
  const outputs = await model.run({[name]: tensor});
  tensor.delete();
  for (const [name, output] of Object.entries(outputs)) {
    answer[name] = Array.from(output.toTypedArray());
    output.delete();
  }
  return answer;
}

async function answer(bitmap) {
  const pixels = prepare(bitmap, pixelsOf(bitmap));
  input = model.getInputDetails()[0].dtype === "uint8" ? Uint8Array.from(pixels, Math.round) : pixels;
  last = await run(input);
  show(bitmap);
  bitmap.close();
}

async function answerFile(photo) {
  if (!photo || !model) return;
  stopCamera();
  try {
    say("Looking at the photo.");
    const source = card.preprocessing.apply_orientation ? photo : await asStored(photo);
    const options = {imageOrientation: "from-image", premultiplyAlpha: "none", colorSpaceConversion: "none"};
    await answer(await createImageBitmap(source, options));
    say("");
  } catch (error) {
    say(`This file cannot be used: ${error.message}. It has to be an image that this browser shows.`, true);
  }
}

// ---- Showing what it answered
function say(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

function element(tag, text = "", className = "", title = text) {
  return Object.assign(document.createElement(tag), {textContent: text, className, title});
}

function show(bitmap) {
  const canvas = $("photo");
  const scale = Math.min(1, 1024 / Math.max(bitmap.width, bitmap.height)), context = canvas.getContext("2d");
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height].map(side => Math.ceil(scale * side));
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  picture = context.getImageData(0, 0, canvas.width, canvas.height);
  canvas.hidden = $("answer").hidden = $("latencies").hidden = false;
  (card.task === "detection" ? showBoxes : showClasses)();
  const routers = Object.keys(last).filter(name => name.startsWith(ROUTING));
  routers.sort((a, b) => a.localeCompare(b, "en", {numeric: true}));
  $("routing").hidden = !routers.length;
  $("rows").replaceChildren(...routers.map(name => heatRow(name.slice(ROUTING.length), last[name])));
}

function showClasses() {
  const order = last.probabilities.map((p, i) => [i, p]).sort((a, b) => b[1] - a[1]).slice(0, TOP);
  $("bars").replaceChildren(...order.map(([i, p]) => bar(card.class_names[i], p)));
}

function bar(name, value, color = "") {
  const row = element("li"), cell = element("span"), filled = element("div", "", "bar");
  Object.assign(filled.style, {width: `${100 * value}%`, background: color});
  cell.append(filled);
  row.append(element("span", name), cell, element("span", value.toFixed(3)));
  return row;
}

function showBoxes() {
  const least = Number($("score").value);
  const shown = last.scores.slice(0, last.count[0]).filter(score => score >= least).length;
  $("least").hidden = false;
  $("shown").textContent = least.toFixed(2);
  $("title").textContent = `${shown} found` + (shown ? "" : `, the best scores ${(last.scores[0] ?? 0).toFixed(2)}`);
  const canvas = $("photo"), context = canvas.getContext("2d"), rows = [];
  context.putImageData(picture, 0, 0);
  context.lineWidth = Math.max(2, canvas.width / 200);
  for (let i = 0; i < shown; i++) {
    const color = COLORS[last.classes[i] % COLORS.length], name = card.class_names[last.classes[i]];
    const [top, left, bottom, right] = last.boxes.slice(4 * i, 4 * i + 4)
      .map((v, j) => Math.min(Math.max(v, 0), 1) * (j % 2 ? canvas.width : canvas.height));
    context.strokeStyle = color;
    context.strokeRect(left, top, right - left, bottom - top);
    rows.push(bar(name, last.scores[i], color));
  }
  $("bars").replaceChildren(...rows.slice(0, 2 * TOP));
}

function heatRow(name, weights) {
  const row = element("div", "", "row");
  row.append(element("b", name), ...weights.map(weight => element("i", "", "", weight.toFixed(3))));
  weights.forEach((weight, i) => (row.children[1 + i].style.opacity = 0.06 + 0.94 * weight));
  return row;
}

// ---- The camera
async function startCamera() {
  try {
    stream = await navigator.mediaDevices.getUserMedia({video: {facingMode: "environment"}});
  } catch (error) {
    return say(`No camera: ${error.message}. Choosing a photo works.`, true);
  }
  $("camera").textContent = "Stop the camera";
  $("video").srcObject = stream;
  await $("video").play();
  while (stream) {
    const frame = await createImageBitmap($("video"));
    if (stream) await answer(frame);
    await new Promise(resolve => setTimeout(resolve, 30)); // the page answers to taps in between
  }
}

function stopCamera() {
  stream?.getTracks().forEach(track => track.stop());
  stream = null;
  $("camera").textContent = "Use the camera";
}

// ---- Latency
async function measure() {
  stopCamera();
  const times = [];
  let repeats = 1;
  const milliseconds = async () => {
    const start = performance.now();
    for (let i = 0; i < repeats; i++) await run(input);
    return (performance.now() - start) / repeats;
  };
  for (let i = 0; i < 5; i++) await milliseconds(); // the first ones are slower
  repeats = Math.ceil(LEAST_MS / Math.max(await milliseconds(), 0.1));
  while (times.length < RUNS) {
    times.push(await milliseconds());
    $("latency").textContent = `${times.length} of ${RUNS}`;
    await new Promise(resolve => setTimeout(resolve));
  }
  times.sort((a, b) => a - b);
  const median = (times[RUNS / 2 - 1] + times[RUNS / 2]) / 2; // RUNS is even
  $("latency").textContent = `${median.toPrecision(3)} ms for one image, one thread: the median of ${RUNS}, each the `
    + `mean of ${repeats}. ${card.model}, ${file}. ${await device()}, ${navigator.hardwareConcurrency} cores.`;
}

async function device() {
  const about = await navigator.userAgentData?.getHighEntropyValues?.(["model", "platformVersion"]);
  const name = about && [about.model, about.platform, about.platformVersion].filter(Boolean).join(" ");
  const browser = about?.brands?.find(({brand}) => !/not.?a.?brand/i.test(brand));
  return name ? `${name}, ${browser?.brand} ${browser?.version}` : navigator.userAgent;
}

// ---- The page
async function start() {
  card = await (await fetch("model.json")).json();
  $("name").textContent = document.title = card.model;
  const {quantization, bytes} = card.files[0], mode = quantization === "none" ? "float32" : quantization;
  file = `${mode}, ${(bytes / 1e6).toFixed(1)} MB`;
  $("facts").textContent = `${card.class_names.length} classes, ${file}`;
  await loadLiteRt("./litert/");
  model = await loadAndCompile("model.tflite", {accelerator: "wasm"});
  $("file").disabled = false;
  if (navigator.mediaDevices?.getUserMedia) $("camera").disabled = false;
  else $("hint").textContent += " Browsers give the camera to https and localhost only.";
  say("");
}

$("file").addEventListener("change", () => answerFile($("file").files[0]));
$("camera").addEventListener("click", () => (stream ? stopCamera() : startCamera()));
$("measure").addEventListener("click", async () => {
  $("measure").disabled = true;
  await measure().catch(error => say(error.message, true));
  $("measure").disabled = false;
});
$("score").addEventListener("input", showBoxes);
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, event => {
    event.preventDefault();
    document.body.classList.toggle("over", ["dragenter", "dragover"].includes(kind));
    if (kind === "drop") answerFile(event.dataTransfer.files[0]);
  });
}
export const ready = start();
ready.catch(error => say(`This browser cannot run the model: ${error.message}`, true));
