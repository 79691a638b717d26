// One card per image.

/** A card that waits for its answer. */
export function newCard(name, blob) {
  const node = document.getElementById("card").content.firstElementChild.cloneNode(true);
  const image = node.querySelector("img");
  image.src = URL.createObjectURL(blob);
  image.addEventListener("error", () => { image.hidden = true; });
  node.querySelector("h3").textContent = name;
  return node;
}

function bar({ label, probability }) {
  const row = document.createElement("li");
  const [fill, text, value] = ["fill", "label", "value"].map((name) => {
    const part = document.createElement("span");
    part.className = name;
    return part;
  });
  fill.setAttribute("aria-hidden", "true");
  fill.style.width = `${100 * probability}%`;
  text.textContent = label;
  text.title = label;
  value.textContent = `${(100 * probability).toFixed(1)} %`;
  row.append(fill, text, value);
  return row;
}

/** Show an answer. */
export function fillCard({ name, node, record }, predictions, classes) {
  const { width, height, prepareMs, runMs, set } = record;
  const times = `${Math.round(prepareMs + runMs)} ms (model ${Math.round(runMs)})`;
  const few = record.classes.slice(0, set ?? 0).map(([index]) => classes[index]).join(", ");
  const members = set === null ? "" : set <= record.classes.length ? `; set: ${few}` : `; set of ${set} labels`;
  node.querySelector(".state").textContent = `${width} × ${height}, ${times}${members}`;
  node.querySelector("img").alt = `${name}: ${predictions[0].label}`;
  node.querySelector(".bars").replaceChildren(...predictions.map(bar));
}

/** Say why there is none. */
export function showFailure(node, message) {
  node.classList.add("failed");
  node.querySelector(".state").textContent = message;
}
