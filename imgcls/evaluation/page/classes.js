// The table of classes: sortable, searchable, as many rows as a person looks at.
const FEW_CLASSES = 100;
const COLUMNS = [
  ["Class", "name", (label) => className(label)], ["Images", 0, number], ["Right", 1, number], ["Guessed", 2, number],
  ["Accuracy", 3, (p) => percent(p)], ["95% interval", 3, null], ["Precision", 4, (p) => percent(p)], ["F1", 5, (p) => percent(p)],
  ["ROC-AUC", 6, (p) => p === null ? "–" : p.toFixed(4)], ["Avg. precision", 7, (p) => p === null ? "–" : p.toFixed(4)],
  ["Loss", 8, (loss) => loss === null ? "–" : loss.toFixed(3)],
];
const table = {key: 3, falling: false, every: false, search: ""};
const measuredClasses = run.per_class.map((_, label) => label).filter((label) => run.per_class[label][0] > 0);

const drawClasses = () => {
  const valueOf = (label) => table.key === "name" ? className(label) : run.per_class[label][table.key];
  const found = measuredClasses.filter((label) => className(label).toLowerCase().includes(table.search));
  found.sort((a, b) => {
    const x = valueOf(a), y = valueOf(b);
    // What isn't known comes last whichever way.
    if (x === null || y === null) return (x === null) - (y === null) || a - b;
    const order = table.key === "name" ? collator.compare(x, y) : x - y;
    return (table.falling ? -order : order) || a - b;
  });
  const head = make("thead"), titles = make("tr");
  titles.append(...COLUMNS.map(([title, key, say]) => {
    const cell = make("th", title === "Class" ? "" : "n");
    cell.scope = "col";
    if (say === null) {
      cell.textContent = title;
      return cell;
    }
    const button = make("button", "sort", title);
    button.type = "button";
    button.dataset.key = key;
    const isSorted = key === table.key;
    if (isSorted) cell.setAttribute("aria-sort", table.falling ? "descending" : "ascending");
    button.append(make("i", "", isSorted ? (table.falling ? " ▾" : " ▴") : ""));
    cell.append(button);
    return cell;
  }));
  head.append(titles);
  const group = document.createElement("tbody");
  group.append(...(table.every ? found : found.slice(0, FEW_CLASSES)).map((label) => {
    const line = make("tr"), values = run.per_class[label];
    line.append(...COLUMNS.map(([title, key, say]) => {
      if (title === "Class") {
        const cell = make("th"), button = make("button", "name", className(label));
        cell.scope = "row";
        button.type = "button";
        button.title = `Mistakes about ${className(label)}`;
        button.addEventListener("click", () => show({filter: values[0] > values[1] ? "mistakes" : "hits", label, guess: -1}));
        cell.append(button);
        return cell;
      }
      const cell = make("td", "n", say === null ? `${percent(values[9])} to ${percent(values[10])}` : say(values[key]));
      if (title === "Accuracy") {
        cell.classList.add("shared");
        cell.style.setProperty("--share", percent(values[3]));
      }
      return cell;
    }));
    return line;
  }));
  const focused = document.activeElement?.dataset?.key;
  $("classes-table").replaceChildren(head, group);
  if (focused !== undefined) $("classes-table").querySelector(`[data-key="${focused}"]`)?.focus();
  $("more-classes").hidden = found.length <= FEW_CLASSES;
  $("more-classes").textContent = table.every ? "Show fewer" : `Show all ${number(found.length)} classes`;
};

const startClasses = () => {
  $("classes-table").addEventListener("click", (event) => {
    const key = event.target.closest("button.sort")?.dataset.key;
    if (key === undefined) return;
    const chosen = key === "name" ? key : Number(key);
    // The first click shows the worst first; names begin with A.
    const first = chosen !== "name" && [0, 1, 2, 8].includes(chosen);
    table.falling = table.key === chosen ? !table.falling : first;
    table.key = chosen;
    drawClasses();
  });
  $("class-search").addEventListener("input", (event) => { table.search = event.target.value.toLowerCase(); drawClasses(); });
  $("more-classes").addEventListener("click", () => { table.every = !table.every; drawClasses(); });
  drawClasses();
};
