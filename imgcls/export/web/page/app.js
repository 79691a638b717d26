// The page: takes images, asks the worker, shows its answers. Nothing is sent anywhere.
import { closeCamera, openCamera, photo } from "./camera.js?v=VERSION_OF_SITE";
import { fillCard, newCard, showFailure } from "./cards.js?v=VERSION_OF_SITE";

const RELOADED = "imgcls-reloaded";
const WORKER_WAIT_MS = 3000;
const BACKENDS = { wasm: "WebAssembly", webgpu: "WebGPU" };
const element = (id) => document.getElementById(id);
const cards = new Map();
let site = null;
let worker = null;
let count = 0;

/** Let the service worker keep the files and allow threads; where that takes a reload, it comes before any download. */
async function prepareBrowser() {
  if (!("serviceWorker" in navigator)) return false;
  try {
    await navigator.serviceWorker.register("sw.js");
    const late = new Promise((resolve) => { setTimeout(resolve, WORKER_WAIT_MS, null); });
    const active = await Promise.race([navigator.serviceWorker.ready, late]);
    if (!active || self.crossOriginIsolated || sessionStorage.getItem(RELOADED)) return false;
    sessionStorage.setItem(RELOADED, "yes");
    location.reload();
    return true;
  } catch {
    return false;
  }
}

function addFiles(files) {
  const images = [...files].filter((file) => file.type.startsWith("image/") || file.type === "");
  for (const blob of images) {
    const id = count += 1;
    const name = blob.name || "pasted image";
    const node = newCard(name, blob);
    element("results").prepend(node);
    cards.set(id, { name, node, record: null, error: null });
    worker?.postMessage({ id, blob });
    if (!worker) cards.get(id).blob = blob;
  }
  tell();
}

function tell() {
  const all = [...cards.values()];
  const done = all.filter((each) => each.record).length;
  const failed = all.filter((each) => each.error).length;
  const left = all.length - done - failed;
  const parts = [[done, "classified"], [failed, "failed"], [left, "to do"]].filter(([number]) => number);
  element("summary").textContent = parts.map(([number, what]) => `${number} ${what}`).join(", ");
  element("clear").disabled = all.length === 0;
  element("save").disabled = done + failed === 0;
}

function predictions(record) {
  const shown = record.classes.slice(0, Number(element("top-k").value));
  return shown.map(([index, probability]) => ({ class_id: index, label: site.card.classes[index], probability }));
}

/** The same records as `imgcls predict -f jsonl` writes. */
function saveAnswers() {
  const lines = [...cards.values()].filter(({ record, error }) => record || error).map(({ name, record, error }) => {
    if (error) return { input: name, status: "error", model: site.model_id, error };
    const { width, height } = record;
    return { input: name, status: "ok", width, height, model: site.model_id, predictions: predictions(record) };
  });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(lines.map((line) => `${JSON.stringify(line)}\n`)));
  link.download = "answers.jsonl";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function clear() {
  cards.clear();
  for (const image of element("results").querySelectorAll("img")) URL.revokeObjectURL(image.src);
  element("results").replaceChildren();
  tell();
}

function onSite(found) {
  site = found;
  element("model-line").textContent = `${site.model_id}, ${site.card.classes.length} classes`;
  document.title = `${site.card.name}: classify images`;
}

function onProgress(soFar, all) {
  const part = Math.min(soFar / all, 1);
  element("progress").value = part;
  const mib = (all / 2 ** 20).toFixed(0);
  element("loading-text").textContent = part < 1
    ? `Loading the model: ${Math.floor(100 * part)} % of ${mib} MiB`
    : "Opening the model …";
}

function onReady({ backend, threads, faults, difference, openMs }) {
  element("loading").hidden = true;
  const where = backend === "wasm" ? `${threads} ${threads === 1 ? "thread" : "threads"}` : "GPU";
  const remarks = faults.map((fault) => `; not used: ${fault}`).join("");
  element("backend").textContent = `${BACKENDS[backend]} (${where}), ready in ${(openMs / 1000).toFixed(1)} s, `
    + `checked on an image: probabilities within ${difference.toPrecision(1)} of the export's${remarks}`;
  document.documentElement.dataset.ready = "true";
}

function onAnswer({ id, record, error }) {
  const card = cards.get(id);
  if (!card) return;
  Object.assign(card, { record: record ?? null, error: error ?? null });
  if (error) showFailure(card.node, error.message);
  else fillCard(card, predictions(record), site.card.classes);
  tell();
}

function onMessage({ data }) {
  if (data.site) onSite(data.site);
  else if (data.all) onProgress(data.soFar, data.all);
  else if (data.ready) onReady(data.ready);
  else if (data.broken !== undefined) {
    element("loading").classList.add("failed");
    element("loading-text").textContent = `The model can't be opened: ${data.broken}`;
    element("progress").hidden = true;
    document.documentElement.dataset.ready = "broken";
  } else onAnswer(data);
}

function startWorker() {
  worker = new Worker(new URL("worker.js?v=VERSION_OF_SITE", import.meta.url), { type: "module" });
  worker.addEventListener("message", onMessage);
  worker.addEventListener("error", () => onMessage({ data: { broken: "its files can't be loaded" } }));
  worker.postMessage({ wanted: new URLSearchParams(location.search).get("backend") ?? "" });
  for (const [id, card] of cards) {
    worker.postMessage({ id, blob: card.blob });
    delete card.blob;
  }
}

for (const id of ["files", "capture"]) {
  element(id).addEventListener("change", (event) => {
    addFiles(event.target.files);
    event.target.value = "";
  });
}
element("camera").addEventListener("click", () => openCamera(element));
element("shoot").addEventListener("click", async () => addFiles([await photo(element)]));
element("close-camera").addEventListener("click", () => closeCamera(element));
element("viewfinder").addEventListener("close", () => closeCamera(element));
element("clear").addEventListener("click", clear);
element("save").addEventListener("click", saveAnswers);
element("top-k").addEventListener("change", () => {
  for (const card of cards.values()) if (card.record) fillCard(card, predictions(card.record), site.card.classes);
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

if (!(await prepareBrowser())) startWorker();
