// The reliability diagram, and the risk-coverage curve with its threshold.
const CHART = {width: 480, height: 300, left: 64, right: 26, top: 12, bottom: 40};
const plot = {width: CHART.width - CHART.left - CHART.right, height: CHART.height - CHART.top - CHART.bottom};
const axes = (words, xs, ys, xOf, yOf) => {
  const svg = drawing("svg", {viewBox: `0 0 ${CHART.width} ${CHART.height}`, role: "img", "aria-label": words.label, class: "chart"});
  for (const y of ys) {
    svg.append(drawing("line", {x1: CHART.left, x2: CHART.width - CHART.right, y1: yOf(y), y2: yOf(y), class: "grid"}));
    svg.append(drawing("text", {x: CHART.left - 8, y: yOf(y) + 4, "text-anchor": "end"}, words.y(y)));
  }
  for (const x of xs) svg.append(drawing("text", {x: xOf(x), y: CHART.height - CHART.bottom + 18, "text-anchor": "middle"}, percent(x, 0)));
  svg.append(drawing("text", {x: CHART.left + plot.width / 2, y: CHART.height - 4, "text-anchor": "middle", class: "axis"}, words.x));
  svg.append(drawing("text", {x: 12, y: CHART.top + plot.height / 2, "text-anchor": "middle", class: "axis",
    transform: `rotate(-90 12 ${CHART.top + plot.height / 2})`}, words.axis));
  return svg;
};
const FIFTHS = [0, 0.2, 0.4, 0.6, 0.8, 1];

const drawReliability = () => {
  if (!run.reliability) {
    $("calibration-words").textContent = "The probabilities are not all numbers.";
    return;
  }
  const [counts, confidences, accuracies] = run.reliability;
  const over = counts.reduce((sum, count, i) => sum + count * (confidences[i] - accuracies[i]), 0) / rows.length;
  $("calibration-words").textContent = `Each of ${counts.length} bins holds about ${plural(counts[0], "image", "images")}. On the diagonal, confidence is accuracy; ` +
    `the mean distance is ${percent(run.ece, 2)}. ` + (Math.abs(over) < 0.005 ? "On average it is as sure as it is right."
      : over > 0 ? `On average it is surer than right, by ${percent(over)}.` : `On average it is less sure than right, by ${percent(-over)}.`);
  const xOf = (x) => CHART.left + x * plot.width, yOf = (y) => CHART.top + (1 - y) * plot.height;
  const svg = axes({label: `Reliability diagram. ${$("calibration-words").textContent}`, x: "confidence", axis: "accuracy", y: (y) => percent(y, 0)}, FIFTHS, FIFTHS, xOf, yOf);
  svg.append(drawing("line", {x1: xOf(0), y1: yOf(0), x2: xOf(1), y2: yOf(1), class: "diagonal"}));
  for (const [i, confidence] of confidences.entries()) {
    svg.append(drawing("line", {x1: xOf(confidence), x2: xOf(confidence), y1: yOf(confidence), y2: yOf(accuracies[i]), class: "gap"}));
  }
  svg.append(drawing("polyline", {points: confidences.map((x, i) => `${xOf(x).toFixed(1)},${yOf(accuracies[i]).toFixed(1)}`).join(" "), class: "curve"}));
  for (const [i, confidence] of confidences.entries()) {
    const title = drawing("title", {}, `confidence ${percent(confidence)}, accuracy ${percent(accuracies[i])}, ${plural(counts[i], "image", "images")}`);
    svg.append(drawing("circle", {cx: xOf(confidence), cy: yOf(accuracies[i]), r: 4, class: "point"}, title));
  }
  $("reliability").append(svg);
};

// Falling confidences, and how many mistakes there are up to each.
const falling = rows.slice().sort((a, b) => b.confidence - a.confidence);
const mistakesUpTo = new Uint32Array(falling.length + 1);
falling.forEach((row, i) => { mistakesUpTo[i + 1] = mistakesUpTo[i] + (row.right ? 0 : 1); });
const acceptedAt = (threshold) => {
  let low = 0, high = falling.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (falling[middle].confidence >= threshold) low = middle + 1; else high = middle;
  }
  return low;
};
let moveThreshold = () => {};
const drawRisk = () => {
  const points = [];
  const step = Math.max(1, Math.floor(falling.length / 400));
  for (let n = 1; n <= falling.length; n++) {
    // Equal confidences are accepted together.
    if (n < falling.length && (falling[n].confidence === falling[n - 1].confidence || n % step)) continue;
    points.push([n / falling.length, mistakesUpTo[n] / n]);
  }
  const most = Math.max(...points.map((point) => point[1]), 0.01);
  const unit = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5].find((each) => most / each <= 5) ?? 0.5;
  const top = Math.min(1, Math.ceil(most / unit - 1e-9) * unit), ys = [];
  for (let y = 0; y <= top + 1e-9; y += unit) ys.push(y);
  const xOf = (x) => CHART.left + x * plot.width, yOf = (y) => CHART.top + (1 - y / top) * plot.height;
  const svg = axes({label: "Risk-coverage curve: the share of mistakes among the answers that are accepted, by the share of images that are", x: "coverage: share of images that are answered", axis: "mistakes among them", y: (y) => percent(y, unit < 0.01 ? 1 : 0)}, FIFTHS, ys, xOf, yOf);
  svg.append(drawing("polyline", {points: points.map(([x, y]) => `${xOf(x).toFixed(1)},${yOf(y).toFixed(1)}`).join(" "), class: "curve"}));
  const line = drawing("line", {y1: CHART.top, y2: CHART.top + plot.height, class: "mark"}), dot = drawing("circle", {r: 5, class: "point"});
  svg.append(line, dot);
  $("risk").append(svg);
  moveThreshold = () => {
    const threshold = $("threshold").value / 1000, accepted = acceptedAt(threshold), wrong = mistakesUpTo[accepted];
    $("threshold-value").textContent = percent(threshold);
    const x = xOf(accepted / falling.length);
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
    dot.setAttribute("cx", x);
    dot.setAttribute("cy", yOf(accepted ? wrong / accepted : 0));
    $("risk-words").textContent = accepted === 0 ? "No image is answered."
      : `Coverage ${percent(accepted / falling.length)}: ${number(accepted)} of ${plural(falling.length, "image", "images")} answered. ` +
        `Accuracy ${percent(1 - wrong / accepted, 2)}: ${plural(wrong, "mistake", "mistakes")} among them, ${number(mistakes.length - wrong)} avoided.`;
    $("show-accepted").disabled = wrong === 0;
  };
  $("threshold").addEventListener("input", moveThreshold);
  moveThreshold();
};
