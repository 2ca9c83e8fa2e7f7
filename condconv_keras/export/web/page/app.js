// The page of a model that `python -m export --formats=web` has written. It takes a photo from a file or the camera,
// prepares it exactly as evaluation does, runs the model in LiteRT.js, and shows what it answers.

import {Tensor, loadAndCompile, loadLiteRt} from "./litert/litert.js";
import {asStored, pixelsOf, prepare} from "./prepare.js";

const TOP = 5, MOST = 10; // classes, boxes
const RUNS = 50; // whose median is the latency
const LEAST_MS = 10; // of a measurement: a browser's clock may have steps of one millisecond
const ROUTING = "routing/"; // begins the names of the outputs that have routing weights
const COLORS = ["#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#00a0a0", "#f032e6", "#808000"];

const $ = id => document.getElementById(id);
let card, file, model;
let turn = 0; // counts what the user asked for: what an earlier one comes to is dropped
let touched; // name of a router, and the expert whose number is shown
let filming = false; // from the first tap on, before there is a stream
let input, picture; // of the last photo: what the model was given, and what is shown
export let last = null; // what was answered to it: a dict of the name of an output to its numbers

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

async function answer(bitmap, asked) {
  const pixels = prepare(bitmap, pixelsOf(bitmap), card.preprocessing);
  const values = model.getInputDetails()[0].dtype === "uint8" ? Uint8Array.from(pixels, Math.round) : pixels;
  const found = await run(values);
  if (asked === turn) {
    [input, last] = [values, found];
    show(bitmap);
  }
  bitmap.close();
}

async function answerFile(photo) {
  if (!photo || $("file").disabled) return;
  const asked = stopCamera();
  try {
    say("Looking at the photo.");
    const source = card.preprocessing.apply_orientation ? photo : await asStored(photo);
    const options = {imageOrientation: "from-image", premultiplyAlpha: "none", colorSpaceConversion: "none"};
    await answer(await createImageBitmap(source, options), asked);
    if (asked === turn) say("");
  } catch (error) {
    if (asked !== turn) return;
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
  $("answer").ariaLive = filming ? "off" : "polite";
  (card.task === "detection" ? showBoxes : showClasses)();
  const routers = Object.keys(last).filter(name => name.startsWith(ROUTING));
  routers.sort((a, b) => a.localeCompare(b, "en", {numeric: true}));
  $("routing").hidden = !routers.length;
  $("rows").replaceChildren(...routers.map(name => heatRow(name.slice(ROUTING.length), last[name])));
  showTouched();
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
  $("title").textContent = `${shown} found` + (shown ? "" : `, the best scores ${(last.scores[0] ?? 0).toFixed(2)}`)
    + (shown > MOST ? `, the ${MOST} best are listed` : "");
  const canvas = $("photo"), context = canvas.getContext("2d"), rows = [];
  context.putImageData(picture, 0, 0);
  context.lineWidth = Math.max(2, canvas.width / 200);
  context.font = `${Math.max(12, canvas.width / 30)}px system-ui, sans-serif`;
  for (let i = 0; i < shown; i++) {
    const color = COLORS[last.classes[i] % COLORS.length], name = card.class_names[last.classes[i]];
    const [top, left, bottom, right] = last.boxes.slice(4 * i, 4 * i + 4)
      .map((v, j) => Math.min(Math.max(v, 0), 1) * (j % 2 ? canvas.width : canvas.height));
    context.strokeStyle = color;
    context.strokeRect(left, top, right - left, bottom - top);
    context.fillStyle = color;
    context.fillText(name, left + 2 * context.lineWidth, bottom - 2 * context.lineWidth);
    rows.push(bar(name, last.scores[i], color));
  }
  $("bars").replaceChildren(...rows.slice(0, MOST));
}

function heatRow(name, weights) {
  const row = element("div", "", "row");
  row.append(element("b", name), ...weights.map(weight => element("i", "", "", weight.toFixed(3))));
  weights.forEach((weight, i) => (row.children[1 + i].style.opacity = 0.06 + 0.94 * weight));
  Object.assign(row, {role: "img", ariaLabel: `${name}: ${weights.map(weight => weight.toFixed(2)).join(", ")}`});
  return row;
}

function showTouched() {
  const [name, expert] = touched ?? [], weight = last[ROUTING + name]?.[expert];
  $("touched").textContent = weight === undefined ? "" : `${name}, expert ${expert}: ${weight.toFixed(3)}`;
}

// ---- The camera
async function startCamera() {
  const asked = stopCamera();
  filming = true;
  $("camera").textContent = "Stop the camera";
  try {
    const opened = await navigator.mediaDevices.getUserMedia({video: {facingMode: "environment"}});
    if (asked !== turn) return close(opened);
    $("video").srcObject = opened;
    await $("video").play();
    while (asked === turn) {
      await answer(await createImageBitmap($("video")), asked);
      await new Promise(resolve => setTimeout(resolve, 30)); // the page answers to taps in between
    }
  } catch (error) {
    if (asked !== turn) return;
    stopCamera();
    say(`No camera: ${error.message}. Choosing a photo works.`, true);
  }
}

/** Begins a turn, without the camera; returns its number. */
function stopCamera() {
  if ($("video").srcObject) close($("video").srcObject);
  $("video").srcObject = null;
  filming = false;
  $("camera").textContent = "Use the camera";
  say("");
  return ++turn;
}

const close = opened => opened.getTracks().forEach(track => track.stop());

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
    + `mean of ${repeats}. ${card.model}, ${file}. ${await device()}, ${navigator.hardwareConcurrency} cores.`
    + (isSecureContext ? "" : " Browsers tell the name of a device on https and localhost only.");
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
  enable(true);
  if (!navigator.mediaDevices) $("hint").textContent += " Browsers give the camera to https and localhost only.";
  say("");
}

function enable(on) {
  $("file").disabled = $("measure").disabled = !on;
  $("camera").disabled = !on || !navigator.mediaDevices;
}

$("file").addEventListener("change", ({target}) => {
  answerFile(target.files[0]);
  target.value = ""; // or choosing the same one again would change nothing
});
$("camera").addEventListener("click", () => (filming ? stopCamera() : startCamera()));
$("measure").addEventListener("click", async () => {
  enable(false);
  await measure().catch(error => say(error.message, true));
  enable(true);
});
$("rows").addEventListener("click", ({target}) => {
  const [name, ...cells] = target.parentNode.children, expert = cells.indexOf(target);
  if (expert >= 0) touched = [name.textContent, expert];
  showTouched();
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
