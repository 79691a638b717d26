// Everything is drawn once, and the page follows the hand from then on.
for (const [id, name, test] of SEGMENTS) {
  const button = make("button", "segment", `${name} `);
  button.type = "button";
  button.dataset.filter = id;
  button.append(make("small", "", number(rows.filter(test).length)));
  button.addEventListener("click", () => change({filter: id, sort: usualSort(id)}));
  $("segments").append(button);
}
const byName = measuredClasses.slice().sort((a, b) => collator.compare(className(a), className(b)));
const guessed = run.per_class.map((_, label) => label).filter((label) => run.per_class[label][2] > 0)
  .sort((a, b) => collator.compare(className(a), className(b)));
$("true-class").append(new Option("any true class", -1), ...byName.map((label) => new Option(className(label), label)));
$("guessed-class").append(new Option("any guess", -1), ...guessed.map((label) => new Option(className(label), label)));
$("true-class").addEventListener("change", (event) => change({label: Number(event.target.value)}));
$("guessed-class").addEventListener("change", (event) => change({guess: Number(event.target.value)}));
$("sort").addEventListener("change", (event) => change({sort: event.target.value}));
$("search").addEventListener("input", (event) => change({search: event.target.value}));
$("clear").addEventListener("click", () => change({label: -1, guess: -1, search: "", above: 0}));
$("copy").addEventListener("click", () => copyNames(shown.map((row) => run.prefix + row.name)));
$("skip").addEventListener("click", (event) => { event.preventDefault(); $("images").focus(); });
$("show-accepted").addEventListener("click", () => show({filter: "mistakes", above: $("threshold").value / 1000}));

const mib = (bytes) => bytes < 2 ** 20 ? `${Math.ceil(bytes / 1024)} KiB` : `${(bytes / 2 ** 20).toFixed(1)} MiB`;
$("budget").textContent = `Previews of ${run.thumbnails.length === rows.length ? "all" : number(run.thumbnails.length) + " of"} ${plural(rows.length, "image", "images")}, `
  + `${mib(run.thumbnail_bytes)}` + (run.thumbnails.length < rows.length ? ": confident mistakes first, then doubtful hits." : ".");
const explained = Object.keys(heatMaps).length;
$("overlay").hidden = explained === 0;
if (explained) {
  $("legend").hidden = false;
  $("legend-words").textContent = `from what hardly matters to what speaks most for the class (${run.method}; of ${plural(explained, "image", "images")}). "Why?" shows the first guess, then the true class.`;
}
$("overlay").addEventListener("click", () => {
  state.overlay = !state.overlay;
  $("overlay").setAttribute("aria-pressed", String(state.overlay));
  redraw();
});

addEventListener("hashchange", () => { readAddress(); update(); });
// Paper has no screen to scroll: the first of what is shown, in the order of the document.
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
  $("images").replaceChildren(...shown.slice(0, MAX_PRINTED).map(drawCard));
});
addEventListener("afterprint", redraw);
addEventListener("DOMContentLoaded", () => { blocks = []; redraw(); document.documentElement.dataset.ready = "true"; });

drawReliability();
drawRisk();
drawConfusions();
startClasses();
readAddress();
update();
