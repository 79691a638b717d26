// The confusion matrix as a table of buttons, a window of classes at a time, and the largest confusions.
const WINDOW = 25;
const cells = new Map();
run.confusion[0].forEach((label, i) => cells.set(label * run.classes.length + run.confusion[1][i], run.confusion[2][i]));
const cellCount = (label, guess) => cells.get(label * run.classes.length + guess) ?? 0;
const largest = run.confusion[0].map((label, i) => [label, run.confusion[1][i], run.confusion[2][i]])
  .filter(([label, guess]) => label !== guess).sort((a, b) => b[2] - a[2]);

const windows = () => {
  const found = [];
  const measured = run.per_class.map((values, label) => label).filter((label) => run.per_class[label][0] > 0 || run.per_class[label][2] > 0);
  if (measured.length <= WINDOW) return [["all", measured]];
  const wrong = new Map();
  for (const [label, guess, count] of largest) {
    wrong.set(label, (wrong.get(label) ?? 0) + count);
    wrong.set(guess, (wrong.get(guess) ?? 0) + count);
  }
  const worst = [...wrong].sort((a, b) => b[1] - a[1]).slice(0, WINDOW).map(([label]) => label).sort((a, b) => a - b);
  found.push([`the ${WINDOW} in most mistakes`, worst]);
  for (let start = 0; start < measured.length; start += WINDOW) {
    const part = measured.slice(start, start + WINDOW);
    found.push([`${className(part[0])} to ${className(part.at(-1))}`, part]);
  }
  return found;
};

const drawMatrix = (labels) => {
  const table = $("matrix"), most = Math.max(1, ...labels.flatMap((label) => labels.filter((guess) => guess !== label).map((guess) => cellCount(label, guess))));
  const head = make("tr"), corner = make("td", "corner", "true \\ guess");
  head.append(corner, ...labels.map((label) => {
    const cell = make("th", "column");
    cell.scope = "col";
    const words = make("span", "", className(label));
    words.title = className(label);
    cell.append(words);
    return cell;
  }));
  const lines = labels.map((label) => {
    const line = make("tr"), title = make("th", "row", className(label));
    title.scope = "row";
    title.title = className(label);
    line.append(title, ...labels.map((guess) => {
      const count = cellCount(label, guess), cell = make("td"), share = run.per_class[label][0] ? count / run.per_class[label][0] : 0;
      if (!count) return cell;
      const button = make("button", label === guess ? "hit" : "miss", number(count));
      button.type = "button";
      // Mistakes and hits have scales of their own: one is a few, the other most.
      button.style.setProperty("--heat", label === guess ? 100 * share : 100 * Math.sqrt(count / most));
      button.title = `${className(label)} taken for ${className(guess)}: ${plural(count, "image", "images")}, ${percent(share)} of the class`;
      button.setAttribute("aria-label", button.title);
      button.dataset.cell = `${label},${guess}`;
      button.tabIndex = -1;
      cell.append(button);
      return cell;
    }));
    return line;
  });
  table.replaceChildren(make("caption", "hidden-words", "Confusion matrix; the arrow keys move between cells"), head, ...lines);
  const first = table.querySelector("button");
  if (first) first.tabIndex = 0;
};

// One stop for the Tab key; from there the arrow keys lead to the next cell that holds images.
const moveInMatrix = (event) => {
  const step = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]}[event.key];
  const button = event.target.closest("button");
  if (!step || !button) return;
  event.preventDefault();
  const table = $("matrix");
  let row = button.closest("tr").rowIndex, column = button.closest("td").cellIndex;
  for (;;) {
    row += step[0];
    column += step[1];
    const cell = table.rows[row]?.cells[column];
    if (!cell || row < 1 || column < 1) return;
    const next = cell.querySelector("button");
    if (!next) continue;
    button.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
    return;
  }
};

const drawConfusions = () => {
  const found = windows();
  $("which-classes").hidden = found.length < 2;
  $("window").append(...found.map(([name], i) => new Option(name, i)));
  $("window").addEventListener("change", () => drawMatrix(found[$("window").value][1]));
  drawMatrix(found[0][1]);
  const go = (label, guess) => show({filter: label === guess ? "hits" : "mistakes", label, guess});
  $("matrix").addEventListener("click", (event) => {
    const cell = event.target.closest("button")?.dataset.cell;
    if (cell) go(...cell.split(",").map(Number));
  });
  $("matrix").addEventListener("keydown", moveInMatrix);
  $("largest").append(...largest.slice(0, 12).map(([label, guess, count]) => {
    const item = make("li"), button = make("button", "confusion");
    button.type = "button";
    button.append(make("span", "name", `${className(label)} → ${className(guess)}`), make("b", "", number(count)),
      make("small", "", `${percent(count / run.per_class[label][0])} of ${className(label)}`));
    button.addEventListener("click", () => go(label, guess));
    item.append(button);
    return item;
  }));
  if (!largest.length) $("largest").append(make("li", "", "No image is taken for another class."));
};
