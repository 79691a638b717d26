// Sends images to the server that the page came from, and shows what it answers. No other host is ever asked.
"use strict";

const AT_ONCE = 4;
const MAX_TRIES = 5;
const element = (id) => document.getElementById(id);
const waiting = [];
let running = 0;
let done = 0;
let failed = 0;

function headers() {
  const token = sessionStorage.getItem("imgcls-token");
  return token ? { Authorization: `Bearer ${token}` } : {};
}

async function loadModels() {
  const response = await fetch("v1/models", { headers: headers() });
  if (response.status === 401) {
    element("token-form").hidden = false;
    element("model-line").textContent = "a token is needed";
    return;
  }
  element("token-form").hidden = true;
  const { models } = await response.json();
  element("model-line").textContent = models.map((each) => `${each.model.id} on ${each.device}`).join(", ");
  document.title = `imgcls: ${models[0].name}`;
  const choice = element("model");
  choice.replaceChildren(...models.map((each) => new Option(each.name, each.name)));
  element("model-choice").hidden = models.length < 2;
}

function addFiles(files) {
  const images = [...files].filter((file) => file.type.startsWith("image/") || file.type === "");
  for (const file of images) {
    const card = element("card").content.firstElementChild.cloneNode(true);
    const image = card.querySelector("img");
    image.src = URL.createObjectURL(file);
    // A kind of image that this browser can't show, such as HEIC, may be one that the server reads.
    image.addEventListener("error", () => { image.hidden = true; });
    card.querySelector("h3").textContent = file.name || "pasted image";
    element("results").prepend(card);
    waiting.push({ file, card });
  }
  element("clear").disabled = element("results").children.length === 0;
  tell();
  start();
}

function start() {
  while (running < AT_ONCE && waiting.length > 0) {
    running += 1;
    classify(waiting.shift()).finally(() => {
      running -= 1;
      tell();
      start();
    });
  }
}

async function classify({ file, card }) {
  const state = card.querySelector(".state");
  state.textContent = "classifying …";
  const query = new URLSearchParams({ top_k: element("top-k").value, name: file.name || "pasted image" });
  if (!element("model-choice").hidden) query.set("model", element("model").value);
  for (let attempt = 1; ; attempt += 1) {
    const began = performance.now();
    try {
      const response = await fetch(`v1/predict?${query}`, {
        method: "POST",
        headers: { "Content-Type": "application/octet-stream", ...headers() },
        body: file,
      });
      if (response.status === 503 && attempt < MAX_TRIES) {
        const seconds = Number(response.headers.get("Retry-After")) || 1;
        state.textContent = "the server is busy, trying again …";
        await new Promise((resolve) => { setTimeout(resolve, 1000 * seconds); });
        continue;
      }
      if (response.status === 401) element("token-form").hidden = false;
      show(card, await response.json(), performance.now() - began);
    } catch {
      fail(card, "the server does not answer");
    }
    return;
  }
}

function show(card, record, milliseconds) {
  if (record.error) {
    fail(card, record.error.message);
    return;
  }
  done += 1;
  const size = `${record.width} × ${record.height}`;
  const doubt = record.uncertain ? ", uncertain" : "";
  card.querySelector(".state").textContent = `${size}, ${Math.round(milliseconds)} ms${doubt}`;
  const image = card.querySelector("img");
  image.alt = `${card.querySelector("h3").textContent}: ${record.predictions[0].label}`;
  card.querySelector(".bars").replaceChildren(...record.predictions.map((prediction) => {
    const bar = document.createElement("li");
    const [fill, label, value] = ["fill", "label", "value"].map((name) => {
      const part = document.createElement("span");
      part.className = name;
      return part;
    });
    fill.setAttribute("aria-hidden", "true");
    fill.style.width = `${100 * prediction.probability}%`;
    label.textContent = prediction.label;
    label.title = prediction.label;
    value.textContent = `${(100 * prediction.probability).toFixed(1)} %`;
    bar.append(fill, label, value);
    return bar;
  }));
}

function fail(card, message) {
  failed += 1;
  card.classList.add("failed");
  card.querySelector(".state").textContent = message;
}

function tell() {
  const left = waiting.length + running;
  const parts = [];
  if (done) parts.push(`${done} classified`);
  if (failed) parts.push(`${failed} failed`);
  if (left) parts.push(`${left} to do`);
  element("summary").textContent = parts.join(", ");
}

async function openCamera() {
  if (!navigator.mediaDevices?.getUserMedia) {
    element("capture").click();
    return;
  }
  try {
    element("video").srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    await element("video").play();
    element("viewfinder").showModal();
  } catch {
    element("capture").click();
  }
}

function closeCamera() {
  for (const track of element("video").srcObject?.getTracks() ?? []) track.stop();
  element("video").srcObject = null;
  if (element("viewfinder").open) element("viewfinder").close();
}

function shoot() {
  const video = element("video");
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob((blob) => {
    closeCamera();
    addFiles([new File([blob], "photo.jpg", { type: "image/jpeg" })]);
  }, "image/jpeg", 0.92);
}

function clear() {
  waiting.length = 0;
  done = 0;
  failed = 0;
  for (const image of element("results").querySelectorAll("img")) URL.revokeObjectURL(image.src);
  element("results").replaceChildren();
  element("clear").disabled = true;
  tell();
}

for (const id of ["files", "capture"]) {
  element(id).addEventListener("change", (event) => {
    addFiles(event.target.files);
    event.target.value = "";
  });
}
element("camera").addEventListener("click", openCamera);
element("shoot").addEventListener("click", shoot);
element("close-camera").addEventListener("click", closeCamera);
element("viewfinder").addEventListener("close", closeCamera);
element("clear").addEventListener("click", clear);
element("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("imgcls-token", element("token").value.trim());
  element("token").value = "";
  loadModels();
});
document.addEventListener("paste", (event) => addFiles(event.clipboardData.files));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  element("drop").classList.add("over");
});
document.addEventListener("dragleave", () => element("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  element("drop").classList.remove("over");
  addFiles(event.dataTransfer.files);
});

loadModels()
  .catch(() => { element("model-line").textContent = "the server does not answer"; })
  .finally(() => { document.documentElement.dataset.ready = "true"; });
