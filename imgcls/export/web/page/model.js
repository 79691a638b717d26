// The model: its files are fetched, unpacked, opened by ONNX Runtime and tried on one image whose answers are known.

const MOST_THREADS = 4;
// Probabilities on the test image may differ from those at the export by so much; half precision takes up to 0.005.
const MOST_DIFFERENCE = 0.02;
const GZIP = [0x1f, 0x8b];

const address = (path, version) => new URL(`${path}?v=${version}`, import.meta.url).href;

/** A file's bytes; some servers unpack what is packed, so the bytes themselves tell. */
async function fetched(path, version, onBytes) {
  const response = await fetch(address(path, version));
  if (!response.ok) throw new Error(`${path}: the server answers ${response.status}`);
  const parts = [];
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    onBytes(value.length);
  }
  const blob = new Blob(parts);
  const start = new Uint8Array(await blob.slice(0, 2).arrayBuffer());
  if (!GZIP.every((byte, i) => start[i] === byte)) return new Uint8Array(await blob.arrayBuffer());
  const unpacked = blob.stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(unpacked).arrayBuffer());
}

/** The model, as it was exported; where a page may not compute the sum, the answers on the test image still tell. */
async function modelFile({ name, sha256 }, version, onBytes) {
  const content = await fetched(name, version, onBytes);
  const sum = await globalThis.crypto?.subtle?.digest("SHA-256", content);
  const digits = sum && Array.from(new Uint8Array(sum), (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (digits && digits !== sha256) throw new Error(`${name} was changed or damaged after its export`);
  return content;
}

/** What may run the model here, the fastest first. */
async function backends(site, wanted) {
  const found = [];
  // Its build with WebGPU needs this way to wait for the GPU; browsers with WebGPU alone use WebAssembly.
  const canWait = typeof WebAssembly.Suspending === "function";
  if (site.runtimes.webgpu && wanted !== "wasm" && navigator.gpu && canWait) {
    const adapter = await navigator.gpu.requestAdapter().catch(() => null);
    const isSoftware = adapter?.info?.isFallbackAdapter ?? false;
    if (adapter && (wanted === "webgpu" || !isSoftware)) found.push("webgpu");
  }
  return [...found, "wasm"];
}

async function opened(backend, site, content, onBytes) {
  const files = site.runtimes[backend];
  const [ort, wasmBinary] = await Promise.all([
    import(address(files.api.name, site.version)),
    fetched(files.wasm.name, site.version, onBytes),
  ]);
  const threads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, MOST_THREADS) : 1;
  Object.assign(ort.env.wasm, {
    wasmBinary: wasmBinary.buffer, numThreads: threads, wasmPaths: { mjs: address(files.loader.name, site.version) },
  });
  ort.env.logLevel = "error";
  const session = await ort.InferenceSession.create(await content, { executionProviders: [backend] });
  const shape = [1, ...site.input_shape];
  const run = async (values) => {
    const outputs = await session.run({ [session.inputNames[0]]: new ort.Tensor("float32", values, shape) });
    return outputs[session.outputNames[0]].data;
  };
  return { run, backend, threads };
}

/**
 * Open the model.
 * @param {object} site what site.json holds.
 * @param {(values: object) => Promise<number>} difference how far the answers on the test image are off.
 * @param {string} wanted `wasm`, `webgpu`, or what suits.
 * @param {(fetched: number, all: number) => void} onProgress told of bytes.
 */
export async function openModel(site, difference, wanted, onProgress) {
  const candidates = await backends(site, wanted);
  let all = site.model.size + site.runtimes[candidates[0]].wasm.size;
  let soFar = 0;
  const onBytes = (count) => {
    soFar += count;
    onProgress(soFar, all);
  };
  const content = modelFile(site.model, site.version, onBytes);
  const faults = [];
  for (const backend of candidates) {
    try {
      const model = await opened(backend, site, content, onBytes);
      const found = await difference(model);
      if (!(found <= MOST_DIFFERENCE)) throw new Error(`answers differ by ${found.toPrecision(2)}`);
      return { ...model, difference: found, faults };
    } catch (fault) {
      faults.push(`${backend}: ${fault.message}`);
      all += site.runtimes.wasm.wasm.size;
    }
  }
  throw new Error(faults.join("; "));
}
