// The page's data are script elements: blocks of records (see Entry in entries.py), the thumbnails of each block
// a line each, and `run`. Only cards near the screen are in the document; thumbnails are cut out when a card is made.
const run = JSON.parse($("run").textContent);
const blocks = document.querySelectorAll("script.thumbnails");
const rows = [];
for (const block of document.querySelectorAll("script.records")) {
  for (const values of JSON.parse(block.textContent)) {
    const failed = typeof values[2] === "string";
    rows.push({
      index: rows.length, name: values[0], link: values[1], failed,
      kind: failed ? values[2] : "", message: failed ? values[3] : "",
      width: failed ? null : values[2], height: failed ? null : values[3],
      uncertain: !failed && values[4] === 1,
      remark: values[failed ? 4 : 6] ?? "",
      answers: failed ? [] : values[5],
      label: failed || !values[5].length ? -1 : values[5][0],
      confidence: failed || !values[5].length ? -1 : values[5][1],
      // What a search looks in: the name, and every class that was answered.
      lower: [values[0], ...(failed ? [] : values[5].filter((_, i) => i % 2 === 0).map((id) => run.classes[id]))].join("\n").toLowerCase(),
    });
  }
}
const MAX_BARS = 10, SHORT_LIST = 24, SORTS = ["input", "name", "class", "-confidence", "confidence"];
const MAX_PRINTED = 600;
const bars = Math.max(1, Math.min(run.top_k, MAX_BARS, rows.reduce((most, row) => Math.max(most, row.answers.length / 2), 1)));
const heightOf = {list: 26 + Math.max(128, 44 + 22 * bars), gallery: 26 + 160 + 8 + 44};
const isGallery = () => state.view === "gallery";
const percent = (p) => `${(100 * p).toFixed(1)}%`;

// What is shown, and its place in the address.
const state = {filter: "all", class: -1, search: "", sort: "input", view: "list", everyClass: false};
const filters = [
  {id: "all", name: "images", test: () => true},
  {id: "ok", name: "classified", test: (row) => !row.failed},
  {id: "uncertain", name: "uncertain", test: (row) => row.uncertain},
  {id: "failed", name: "failed", test: (row) => row.failed},
].filter((filter) => filter.id !== "uncertain" || run.threshold !== null);
const readAddress = () => {
  const words = new URLSearchParams(location.hash.slice(1));
  state.filter = filters.some((filter) => filter.id === words.get("filter")) ? words.get("filter") : "all";
  state.class = words.has("class") ? run.classes.indexOf(words.get("class")) : -1;
  state.search = words.get("search") ?? "";
  state.sort = SORTS.includes(words.get("sort")) ? words.get("sort") : "input";
  state.view = words.get("view") === "gallery" ? "gallery" : "list";
};
const writeAddress = () => {
  const words = new URLSearchParams();
  if (state.filter !== "all") words.set("filter", state.filter);
  if (state.class >= 0) words.set("class", run.classes[state.class]);
  if (state.search) words.set("search", state.search);
  if (state.sort !== "input") words.set("sort", state.sort);
  if (state.view !== "list") words.set("view", state.view);
  history.replaceState(null, "", `#${words}`);
};

const collator = new Intl.Collator("en", {numeric: true});
let shown = rows;
const update = () => {
  const wanted = filters.find((filter) => filter.id === state.filter);
  const search = state.search.toLowerCase();
  const found = rows.filter((row) => wanted.test(row) && row.lower.includes(search));
  shown = state.class < 0 ? found.slice() : found.filter((row) => row.label === state.class);
  if (state.sort !== "input") {
    const direction = state.sort === "confidence" ? 1 : -1;
    const text = {name: (row) => row.name, class: (row) => run.classes[row.label] ?? ""}[state.sort];
    const order = text === undefined ? (a, b) => direction * (a.confidence - b.confidence) : (a, b) => collator.compare(text(a), text(b));
    // Failures have no confidence: they come last whichever way.
    shown.sort((a, b) => (state.sort !== "name" && a.failed - b.failed) || order(a, b) || a.index - b.index);
  }
  drawTiles();
  drawHistogram(found);
  $("search").value = state.search;
  $("sort").value = state.sort;
  $("view").textContent = isGallery() ? "List" : "Gallery";
  $("images").classList.toggle("gallery", isGallery());
  $("found").textContent = shown.length === rows.length
    ? plural(rows.length, "image", "images") : `${number(shown.length)} of ${number(rows.length)}`;
  const filtered = state.filter !== "all" || state.class >= 0 || state.search !== "";
  $("clear").hidden = !filtered;
  $("clear").textContent = state.class >= 0 ? `✕ ${visible(run.classes[state.class])}` : "✕ Show all";
  $("clear").setAttribute("aria-label", state.class >= 0 ? `Show all classes again, not only ${run.classes[state.class]}` : "Show all images again");
  $("nothing").hidden = shown.length > 0;
  list.clear();
  const bottom = $("toolbar").getBoundingClientRect();
  if (bottom.top <= 0) scrollTo(0, scrollY + $("images").getBoundingClientRect().top - bottom.height);
  list.place();
};
const change = (values) => { Object.assign(state, values); writeAddress(); update(); };

// Totals, which are the filter.
const classified = rows.filter((row) => !row.failed);
const kinds = new Map();
for (const row of rows) if (row.failed) kinds.set(row.kind, (kinds.get(row.kind) ?? 0) + 1);
const mean = classified.reduce((sum, row) => sum + row.confidence, 0) / classified.length;
const remarks = {
  all: plural(new Set(classified.map((row) => row.label)).size, "class", "classes"),
  ok: classified.length ? `mean confidence ${percent(mean)}` : "",
  uncertain: run.threshold === null ? "" : `less than ${+(100 * run.threshold).toFixed(4)}% sure`,
  failed: [...kinds].sort((a, b) => b[1] - a[1]).map(([kind, count]) => `${number(count)}\u00a0${kind}`).join(" · ") || "none",
};
const tiles = filters.map((filter) => {
  const count = rows.filter(filter.test).length;
  const tile = make("button", `tile ${filter.id}${count ? "" : " none"}`);
  tile.type = "button";
  tile.append(make("b", "", number(count)), make("span", "", filter.name), make("small", "", remarks[filter.id]));
  tile.addEventListener("click", () => change({filter: filter.id}));
  $("tiles").append(tile);
  return tile;
});
const drawTiles = () => tiles.forEach((tile, i) => tile.setAttribute("aria-pressed", String(filters[i].id === state.filter)));

// Most probable classes of what the other filters leave.
const drawHistogram = (found) => {
  const counts = new Map();
  for (const row of found) if (row.label >= 0) counts.set(row.label, (counts.get(row.label) ?? 0) + 1);
  if (state.class >= 0 && !counts.has(state.class)) counts.set(state.class, 0);
  const sorted = [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
  const most = sorted.length ? sorted[0][1] : 1;
  const listed = state.everyClass ? sorted : sorted.filter(([label], rank) => rank < SHORT_LIST || label === state.class);
  const focused = document.activeElement?.dataset?.label;
  $("histogram").replaceChildren(...listed.map(([label, count]) => {
    const button = make("button", "class");
    button.type = "button";
    button.dataset.label = label;
    button.title = visible(run.classes[label]);
    button.setAttribute("aria-pressed", String(label === state.class));
    const track = make("span", "track"), bar = make("i");
    bar.style.width = `${100 * count / Math.max(most, 1)}%`;
    track.append(bar);
    button.append(make("span", "name", visible(run.classes[label])), make("span", "number", number(count)), track);
    button.addEventListener("click", () => change({class: label === state.class ? -1 : label}));
    return button;
  }));
  if (focused !== undefined) $("histogram").querySelector(`[data-label="${focused}"]`)?.focus();
  $("num-classes").textContent = number(sorted.length);
  $("all-classes").hidden = sorted.length <= SHORT_LIST;
  $("all-classes").textContent = state.everyClass ? "Show fewer" : `Show all ${number(sorted.length)}`;
};

// Thumbnails of the blocks that were needed last.
const lines = new Map();
const thumbnail = (index) => {
  const block = Math.floor(index / run.block);
  const text = lines.get(block) ?? blocks[block].textContent.split("\n");
  lines.delete(block);
  lines.set(block, text);
  if (lines.size > 80) lines.delete(lines.keys().next().value);
  return text[index % run.block];
};

const drawCard = (row) => {
  const card = make("li", row.uncertain ? "card doubtful" : "card");
  card.style.height = `${heightOf[state.view]}px`;
  const encoded = thumbnail(row.index);
  const thumb = make(row.link ? "a" : "span", "thumb", encoded ? undefined : row.failed ? "unreadable" : "no preview");
  if (row.link) {
    thumb.href = row.link;
    thumb.target = "_blank";
    thumb.rel = "noreferrer";
    thumb.setAttribute("aria-label", `Open ${visible(row.name)}`);
  }
  if (encoded) {
    const image = make("img");
    image.src = `data:image/jpeg;base64,${encoded}`;
    image.alt = "";
    thumb.append(image);
  }
  const text = make("div", "text");
  const slash = row.name.lastIndexOf("/", row.name.length - 2) + 1;
  const file = make("bdi", "file", visible(row.name.slice(slash)));
  file.title = visible(row.name);
  const where = make("div", "where");
  if (row.failed) where.append(make("span", "badge fault", row.kind));
  if (row.uncertain) where.append(make("span", "badge doubt", "uncertain"));
  if (row.remark) where.append(make("span", "remark", row.remark));
  if (row.width) where.append(make("span", "", `${row.width} × ${row.height}`));
  if (slash > 1) where.append(make("bdi", "folder", visible(row.name.slice(0, slash - 1))));
  text.append(file, where);
  if (isGallery()) {
    const best = row.failed ? row.message : row.answers.length ? `${run.classes[row.label]} ${percent(row.confidence)}` : "";
    text.append(make("p", "best", visible(best)));
  } else if (row.failed) {
    const reason = make("p", "reason", visible(row.message));
    reason.title = visible(row.message);
    text.append(reason);
  } else {
    const list = make("ol", "bars");
    for (let i = 0; i < Math.min(row.answers.length, 2 * bars); i += 2) {
      const bar = make("li", "bar"), label = make("span", "", visible(run.classes[row.answers[i]]));
      label.title = label.textContent;
      bar.style.setProperty("--share", percent(row.answers[i + 1]));
      bar.append(label, make("b", "", percent(row.answers[i + 1])));
      bar.lastChild.style.fontWeight = "inherit";
      list.append(bar);
    }
    text.append(list);
  }
  card.append(thumb, text);
  return card;
};

const list = cardList({shown: () => shown, narrowest: () => isGallery() ? 170 : 340, height: () => heightOf[state.view], draw: drawCard});
addEventListener("hashchange", () => { readAddress(); update(); });
$("search").addEventListener("input", (event) => change({search: event.target.value}));
$("sort").addEventListener("change", (event) => change({sort: event.target.value}));
$("clear").addEventListener("click", () => change(state.class >= 0 ? {class: -1} : {filter: "all", search: ""}));
$("view").addEventListener("click", () => change({view: isGallery() ? "list" : "gallery"}));
$("copy").addEventListener("click", () => copyNames(shown.map((row) => row.name)));
// Paper has no screen to scroll: all that is shown, up to a limit, in the order of the document.
addEventListener("beforeprint", () => $("images").replaceChildren(...shown.slice(0, MAX_PRINTED).map(drawCard)));
addEventListener("afterprint", () => { list.clear(); list.place(); });
$("all-classes").addEventListener("click", () => { state.everyClass = !state.everyClass; update(); });
$("skip").addEventListener("click", (event) => { event.preventDefault(); $("images").focus(); });

if (innerWidth <= 860) for (const details of document.querySelectorAll("details")) details.open = false;
$("notice").hidden = run.status === "finished";
$("heading").textContent = plural(rows.length, "image", "images");
document.title = `${$("heading").textContent}, ${document.title.toLowerCase()}`;
readAddress();
update();
document.documentElement.dataset.ready = "true";
