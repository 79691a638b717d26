// Classifies in a thread of its own, so that the page never stands still.
import { probabilities, ranked, setSize } from "./answers.js?v=VERSION_OF_SITE";
import { cropped, networkSize, normalised } from "./geometry.js?v=VERSION_OF_SITE";
import { openModel } from "./model.js?v=VERSION_OF_SITE";
import { ImageFault, decoded } from "./pixels.js?v=VERSION_OF_SITE";

let site;
let model;

async function probabilitiesOf(rgb, run) {
  return probabilities(await run(normalised(rgb, site.card.transform)), site.card.calibration);
}

/** How far the answers on the test image are from those at the export. */
async function difference({ run }) {
  const blob = await (await fetch(new URL(`check.png?v=${site.version}`, import.meta.url))).blob();
  const image = await decoded(blob, null);
  const [height, width] = networkSize(site.card.transform);
  const rgba = image.rows(0, height);
  const rgb = Uint8Array.from({ length: width * height * 3 }, (_, i) => rgba[Math.floor(i / 3) * 4 + (i % 3)]);
  const values = await probabilitiesOf(rgb, run);
  return Math.max(...site.check.map(([index, probability]) => Math.abs(values[index] - probability)));
}

async function classified(blob) {
  const began = performance.now();
  const image = await decoded(blob, site.card.transform.background_rgb ?? null);
  try {
    const rgb = cropped(image, site.card.transform);
    const prepared = performance.now();
    const values = await probabilitiesOf(rgb, model.run);
    const order = ranked(values);
    const { calibration } = site.card;
    return {
      width: image.width,
      height: image.height,
      classes: order.slice(0, site.most_classes).map((index) => [index, values[index]]),
      set: calibration?.sets ? setSize(values, order, calibration.sets) : null,
      prepareMs: prepared - began,
      runMs: performance.now() - prepared,
    };
  } finally {
    image.close();
  }
}

async function open(wanted) {
  site = await (await fetch(new URL("site.json?v=VERSION_OF_SITE", import.meta.url))).json();
  postMessage({ site });
  const began = performance.now();
  model = await openModel(site, difference, wanted, (soFar, all) => postMessage({ soFar, all }));
  const { backend, threads, faults } = model;
  postMessage({ ready: { backend, threads, faults, difference: model.difference, openMs: performance.now() - began } });
}

let last = Promise.resolve();
addEventListener("message", ({ data }) => {
  // One after the other: each image has all threads.
  last = last.then(async () => {
    try {
      if (data.wanted !== undefined) await open(data.wanted);
      else postMessage({ id: data.id, record: await classified(data.blob) });
    } catch (fault) {
      const isInput = fault instanceof ImageFault;
      if (data.wanted !== undefined) postMessage({ broken: fault.message });
      else postMessage({ id: data.id, error: { kind: isInput ? "not_an_image" : "model", message: fault.message } });
    }
  });
});
