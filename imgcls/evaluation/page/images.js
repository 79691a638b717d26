// The galleries: filters, a list of which only the cards near the screen exist, heat maps on demand.
const PREVIEW_PX = 150, MAX_PRINTED = 300, CARD = {height: 300, width: 190};
const state = {filter: "mistakes", label: -1, guess: -1, search: "", sort: "-confidence", above: 0, overlay: false};
const SORTS = {"-confidence": (a, b) => b.confidence - a.confidence, confidence: (a, b) => a.confidence - b.confidence,
  "-loss": (a, b) => b.loss - a.loss, input: () => 0};
const SEGMENTS = [["mistakes", "Mistakes", (row) => !row.right], ["hits", "Hits", (row) => row.right], ["all", "All", () => true]];

const readAddress = () => {
  const words = new URLSearchParams(location.hash.slice(1));
  const label = (name) => words.has(name) ? run.classes.indexOf(words.get(name)) : -1;
  state.filter = SEGMENTS.some(([id]) => id === words.get("filter")) ? words.get("filter") : "mistakes";
  state.label = label("true");
  state.guess = label("guess");
  state.search = words.get("search") ?? "";
  state.above = Math.min(1, Math.max(0, Number(words.get("above")) || 0));
  state.sort = words.get("sort") in SORTS ? words.get("sort") : usualSort(state.filter);
};
const usualSort = (filter) => filter === "hits" ? "confidence" : "-confidence";
const writeAddress = () => {
  const words = new URLSearchParams();
  if (state.filter !== "mistakes") words.set("filter", state.filter);
  if (state.label >= 0) words.set("true", run.classes[state.label]);
  if (state.guess >= 0) words.set("guess", run.classes[state.guess]);
  if (state.search) words.set("search", state.search);
  if (state.above) words.set("above", state.above);
  if (state.sort !== usualSort(state.filter)) words.set("sort", state.sort);
  history.replaceState(null, "", `#${words}`);
};

let shown = [];
const update = () => {
  const test = SEGMENTS.find(([id]) => id === state.filter)[2], search = state.search.toLowerCase();
  shown = rows.filter((row) => test(row) && (state.label < 0 || row.label === state.label) && (state.guess < 0 || row.guess === state.guess)
    && row.confidence >= state.above && row.lower.includes(search));
  shown.sort((a, b) => SORTS[state.sort](a, b) || a.index - b.index);
  for (const button of $("segments").children) button.setAttribute("aria-pressed", String(button.dataset.filter === state.filter));
  $("true-class").value = state.label;
  $("guessed-class").value = state.guess;
  $("sort").value = state.sort;
  $("search").value = state.search;
  $("found").textContent = shown.length === rows.length ? plural(rows.length, "image", "images") : `${number(shown.length)} of ${plural(rows.length, "image", "images")}`;
  const narrowed = [state.above ? `at least ${percent(state.above)} sure` : ""].filter(Boolean).join(", ");
  $("clear").hidden = state.label < 0 && state.guess < 0 && !state.search && !state.above;
  $("clear").textContent = narrowed ? `✕ ${narrowed}` : "✕ Show all";
  $("nothing").hidden = shown.length > 0;
  $("nothing").textContent = rows.length && !mistakes.length && state.filter === "mistakes" ? "There is no mistake." : "No image matches.";
  redraw();
};
const redraw = () => {
  list.clear();
  list.place();
};
const change = (values) => { Object.assign(state, values); writeAddress(); update(); };
// From elsewhere on the page: the images, and the way to them.
const show = (values) => {
  change({label: -1, guess: -1, search: "", above: 0, sort: usualSort(values.filter), ...values});
  $("gallery").scrollIntoView();
  $("images").focus({preventScroll: true});
  list.place();
};

// Thumbnails come behind this script, so that a large page can be used before it has been read whole.
const thumbnailOf = new Map(run.thumbnails.map((index, place) => [index, place]));
const lines = new Map();
let blocks = [];
const thumbnail = (index) => {
  const place = thumbnailOf.get(index);
  if (place === undefined) return "";
  const number = Math.floor(place / run.block);
  if (!blocks[number]) blocks = document.querySelectorAll("script.thumbnails");
  if (!blocks[number]) return "";
  const text = lines.get(number) ?? blocks[number].textContent.split("\n");
  lines.delete(number);
  lines.set(number, text);
  if (lines.size > 80) lines.delete(lines.keys().next().value);
  return text[place % run.block];
};

const linkOf = (row) => run.link === null ? "" : row.name.startsWith("file:") ? row.name
  : run.link + row.name.split("/").map(encodeURIComponent).join("/");

// Dark and clear where the map is weak, yellow where it is strong: inferno's own stops.
const STOPS = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]];
const colourOf = (value) => {
  const at = value / 255 * (STOPS.length - 1), i = Math.min(Math.floor(at), STOPS.length - 2);
  return STOPS[i].map((low, channel) => low + (STOPS[i + 1][channel] - low) * (at - i));
};
const drawMap = (frame, [label, height, width, encoded]) => {
  const bytes = Uint8Array.from(atob(encoded), (char) => char.charCodeAt(0));
  const canvas = make("canvas", "heat");
  canvas.width = width;
  canvas.height = height;
  const pixels = new ImageData(width, height);
  bytes.forEach((value, i) => pixels.data.set([...colourOf(value), 60 + 0.6 * value], 4 * i));
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  const [left, top, w, h] = frame;
  Object.assign(canvas.style, {left: percent(left, 2), top: percent(top, 2), width: percent(w, 2), height: percent(h, 2)});
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `What speaks for ${className(label)}`);
  return canvas;
};

const drawCard = (row) => {
  const card = make("li", "card");
  card.style.height = `${CARD.height}px`;
  const encoded = thumbnail(row.index), link = linkOf(row), name = visible(run.prefix + row.name);
  const thumb = make(link ? "a" : "span", "thumb", encoded ? undefined : "no preview");
  if (link) {
    thumb.href = link;
    thumb.target = "_blank";
    thumb.rel = "noreferrer";
    thumb.setAttribute("aria-label", `Open ${name}`);
  }
  if (encoded) {
    const frame = make("span", "frame"), image = make("img");
    image.src = `data:image/jpeg;base64,${encoded}`;
    image.alt = "";
    image.addEventListener("load", () => {
      image.classList.toggle("small", image.naturalWidth <= 64);
      // As large as its place allows, in proportion, so that a heat map's shares are those of the image.
      frame.style.width = `min(100%, ${Math.round(PREVIEW_PX * image.naturalWidth / image.naturalHeight)}px)`;
    });
    frame.append(image);
    thumb.append(frame);
  }
  const text = make("div", "text"), file = make("bdi", "file", visible(row.name.slice(row.name.lastIndexOf("/") + 1)));
  file.title = name;
  const truth = make("p", row.right ? "verdict right" : "verdict wrong", row.right ? className(row.label) : `is ${className(row.label)}`);
  truth.title = truth.textContent;
  const list = make("ol", "bars");
  for (let i = 0; i < row.answers.length; i += 2) {
    const bar = make("li", row.answers[i] === row.label ? "bar true" : "bar"), label = make("span", "", className(row.answers[i]));
    label.title = label.textContent;
    bar.style.setProperty("--share", percent(row.answers[i + 1]));
    bar.append(label, make("span", "", percent(row.answers[i + 1])));
    list.append(bar);
  }
  text.append(file, truth, list);
  card.append(thumb, text);
  const found = heatMaps[row.index];
  if (found && encoded) {
    const [part, maps] = found;
    const button = make("button", "why chip");
    button.type = "button";
    let at = state.overlay ? 0 : -1;
    const put = () => {
      thumb.querySelector(".heat")?.remove();
      if (at >= 0) thumb.querySelector(".frame").append(drawMap(part, maps[at]));
      button.textContent = at < 0 ? "Why?" : `Why ${className(maps[at][0])}?`;
      button.setAttribute("aria-pressed", String(at >= 0));
    };
    // First the guess, then the true class, then the image alone.
    button.addEventListener("click", () => { at = at + 1 < maps.length ? at + 1 : -1; put(); });
    put();
    card.append(button);
  }
  return card;
};

const list = cardList({shown: () => shown, narrowest: (width, gap) => Math.min(CARD.width, (width - gap) / 2), height: () => CARD.height, draw: drawCard});
