// The page's data are script elements: `run`, blocks of records (see page.py), heat maps, and, below this script,
// thumbnails in blocks of lines, those of the most interesting images.
const run = JSON.parse($("run").textContent);
const heatMaps = JSON.parse($("maps").textContent);
const rows = [];
for (const block of document.querySelectorAll("script.records")) {
  for (const [name, label, loss, ...answers] of JSON.parse(block.textContent)) {
    rows.push({index: rows.length, name, label, loss: loss ?? Infinity, answers, guess: answers[0], confidence: answers[1] ?? 0,
      right: answers[0] === label, lower: name.toLowerCase()});
  }
  block.remove();
}
const mistakes = rows.filter((row) => !row.right);

const percent = (p, digits = 1) => p === null || p === undefined ? "–" : `${(100 * p).toFixed(digits)}%`;
const className = (label) => visible(run.classes[label]);
const drawing = (tag, attributes, ...children) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};
const collator = new Intl.Collator("en", {numeric: true});
