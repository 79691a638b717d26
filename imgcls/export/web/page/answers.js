// From the network's outputs to predictions: imgcls/models/answers/calibration.py and the softmax.

/** Probabilities of all classes; calibrated where the model is. */
export function probabilities(logits, calibration) {
  const { scale, offset } = calibration ?? { scale: [1], offset: [] };
  const values = Float64Array.from(logits, (logit, i) => logit * (scale[i] ?? scale[0]) + (offset[i] ?? 0));
  const largest = values.reduce((a, b) => Math.max(a, b));
  const powers = values.map((value) => Math.exp(value - largest));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

/** The most probable classes first; of equal ones the lower index. */
export function ranked(values) {
  return Array.from(values, (_, index) => index).sort((a, b) => values[b] - values[a] || a - b);
}

/** How many labels an image's conformal set holds. */
export function setSize(values, order, { threshold, penalty, free_ranks: freeRanks }) {
  let before = 0;
  let size = 0;
  for (const [rank, index] of order.entries()) {
    if (rank > 0 && before + penalty * Math.max(rank + 1 - freeRanks, 0) > threshold) break;
    before += values[index];
    size = rank + 1;
  }
  return size;
}
