// From decoded pixels to what the network sees: imgcls/images/transform.py again, and Pillow's resize bit for bit.
// Shapes: H height, W width, C channels (3).

// Pillow computes in 32-bit integers: 8 bits of value, 2 bits of headroom, the rest is the fraction.
const FRACTION_BITS = 32 - 8 - 2;
const HALF = 1 << (FRACTION_BITS - 1);
// Beyond so many pixels only what the crop keeps is made.
const MAX_RESIZED_PIXELS = 1 << 26;
// Of an image's rows that are looked at together.
const STRIP_PIXELS = 1 << 22;
// Red, green and blue in a grey of 16 fractional bits (ITU-R 601-2).
const GREY_WEIGHTS = [19595, 38470, 7471];

// 32-bit floats in Pillow.
const HAMMING = [Math.fround(0.54), Math.fround(0.46)];
const sinc = (x) => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));
const FILTERS = {
  box: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, weight: (x) => Math.max(1 - Math.abs(x), 0) },
  hamming: {
    support: 1,
    weight: (x) => (Math.abs(x) >= 1 ? 0 : sinc(x) * (HAMMING[0] + HAMMING[1] * Math.cos(x * Math.PI))),
  },
  bicubic: {
    support: 2,
    weight: (signed) => {
      const x = Math.abs(signed);
      if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
      return x < 2 ? -0.5 * (((x - 5) * x + 8) * x - 4) : 0;
    },
  },
  lanczos: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

/** Python's round: halves go to the even neighbour. */
function roundHalfEven(value) {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}

/** Height and width of what the network sees. */
export function networkSize(transform) {
  return [transform.crop_px, transform.crop_width_px ?? transform.crop_px];
}

/** Width and height after the resize. */
export function resizedSize(transform, width, height) {
  const [cropHeight, cropWidth] = networkSize(transform);
  const boxHeight = transform.resize_px;
  const boxWidth = Math.max(roundHalfEven((boxHeight * cropWidth) / cropHeight), 1);
  const resize = transform.resize ?? "crop";
  if (resize === "squash") return [boxWidth, boxHeight];
  const isWide = width * boxHeight > height * boxWidth;
  if (resize === "pad") {
    if (isWide) return [boxWidth, Math.max(roundHalfEven((boxWidth * height) / width), 1)];
    return [Math.max(roundHalfEven((boxHeight * width) / height), 1), boxHeight];
  }
  if (isWide) return [Math.max(Math.trunc((boxHeight * width) / height), 1), boxHeight];
  return [boxWidth, Math.max(Math.trunc((boxWidth * height) / width), 1)];
}

function cropStart(size, crop) {
  const beyond = size - crop;
  return beyond >= 0 ? roundHalfEven(beyond / 2) : -Math.floor(-beyond / 2);
}

/** Which part of an image is resized to which size; all of it, unless that would be a ribbon of gigabytes. */
function plan(transform, width, height) {
  const [newWidth, newHeight] = resizedSize(transform, width, height);
  if (newWidth * newHeight <= MAX_RESIZED_PIXELS) return { size: [newWidth, newHeight], box: [0, 0, width, height] };
  const [cropHeight, cropWidth] = networkSize(transform);
  const isWide = width > height;
  const crop = isWide ? cropWidth : cropHeight;
  const longer = Math.max(width, height);
  const newLonger = Math.max(newWidth, newHeight);
  const start = cropStart(newLonger, crop);
  const scale = longer / newLonger;
  const first = start * scale;
  const last = Math.min((start + crop) * scale, longer);
  if (isWide) return { size: [crop, newHeight], box: [first, 0, last, height] };
  return { size: [newWidth, crop], box: [0, first, width, last] };
}

/** For each output pixel of one direction: where its input starts, how many there are, and their weights. */
function coefficients(filter, inSize, from, to, outSize) {
  const { support, weight } = filter;
  // The box is of 32-bit floats in Pillow.
  const [start, end] = [Math.fround(from), Math.fround(to)];
  const scale = Math.fround(end - start) / outSize;
  const filterScale = Math.max(scale, 1);
  const reach = support * filterScale;
  const most = Math.ceil(reach) * 2 + 1;
  const firsts = new Int32Array(outSize);
  const counts = new Int32Array(outSize);
  const weights = new Int32Array(outSize * most);
  const exact = new Float64Array(most);
  for (let out = 0; out < outSize; out += 1) {
    const centre = start + (out + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - reach + 0.5), 0);
    const count = Math.min(Math.trunc(centre + reach + 0.5), inSize) - first;
    let sum = 0;
    for (let i = 0; i < count; i += 1) {
      exact[i] = weight((i + first - centre + 0.5) / filterScale);
      sum += exact[i];
    }
    for (let i = 0; i < count; i += 1) {
      const share = sum === 0 ? exact[i] : exact[i] / sum;
      weights[out * most + i] = Math.trunc((share < 0 ? -0.5 : 0.5) + share * (1 << FRACTION_BITS));
    }
    firsts[out] = first;
    counts[out] = count;
  }
  return { firsts, counts, weights, most };
}

function clipped(sum) {
  const value = sum >> FRACTION_BITS;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

/** Resize across; `step` is how many bytes a pixel of the input takes. */
function resizeRows(pixels, step, width, height, outWidth, { firsts, counts, weights, most }) {
  const out = new Uint8Array(outWidth * height * 3);
  for (let y = 0, at = 0; y < height; y += 1) {
    for (let x = 0; x < outWidth; x += 1, at += 3) {
      let red = HALF;
      let green = HALF;
      let blue = HALF;
      let from = (y * width + firsts[x]) * step;
      for (let i = x * most, end = i + counts[x]; i < end; i += 1, from += step) {
        const weight = weights[i];
        red += pixels[from] * weight;
        green += pixels[from + 1] * weight;
        blue += pixels[from + 2] * weight;
      }
      out[at] = clipped(red);
      out[at + 1] = clipped(green);
      out[at + 2] = clipped(blue);
    }
  }
  return out;
}

function resizeColumns(rgb, width, outHeight, { firsts, counts, weights, most }) {
  const stride = width * 3;
  const out = new Uint8Array(stride * outHeight);
  const sums = new Int32Array(stride);
  for (let y = 0; y < outHeight; y += 1) {
    sums.fill(HALF);
    for (let i = 0; i < counts[y]; i += 1) {
      const weight = weights[y * most + i];
      const from = (firsts[y] + i) * stride;
      for (let x = 0; x < stride; x += 1) sums[x] += rgb[from + x] * weight;
    }
    for (let x = 0, at = y * stride; x < stride; x += 1, at += 1) out[at] = clipped(sums[x]);
  }
  return out;
}

function dropAlpha(rgba) {
  const out = new Uint8Array((rgba.length / 4) * 3);
  for (let from = 0, at = 0; from < rgba.length; from += 4, at += 3) {
    out[at] = rgba[from];
    out[at + 1] = rgba[from + 1];
    out[at + 2] = rgba[from + 2];
  }
  return out;
}

/** Which input pixel each output pixel is, where nothing is blended; the sums run as Pillow's do. */
function nearest(inSize, from, to, outSize) {
  const step = (Math.fround(to) - Math.fround(from)) / outSize;
  const indices = new Int32Array(outSize);
  let at = Math.fround(from) + step * 0.5;
  for (let i = 0; i < outSize; i += 1, at += step) indices[i] = Math.min(Math.trunc(at), inSize - 1);
  return indices;
}

function pickRows(rgb, width, indices) {
  const out = new Uint8Array(width * indices.length * 3);
  indices.forEach((from, y) => out.set(rgb.subarray(from * width * 3, (from + 1) * width * 3), y * width * 3));
  return out;
}

function pickColumns(rgba, width, height, indices) {
  const out = new Uint8Array(indices.length * height * 3);
  for (let y = 0, at = 0; y < height; y += 1) {
    for (const x of indices) {
      const from = (y * width + x) * 4;
      out[at] = rgba[from];
      out[at + 1] = rgba[from + 1];
      out[at + 2] = rgba[from + 2];
      at += 3;
    }
  }
  return out;
}

/**
 * Resize as Pillow does.
 * @param {{width: number, height: number, rows: (y: number, count: number) => Uint8ClampedArray}} image gives rows of
 *   RGBA; asked for from above to below, some at a time, so that a large image is never held twice.
 * @param {number[]} size width and height wanted.
 * @param {number[]} box left, top, right and bottom of what is resized.
 * @param {string} interpolation the filter's name.
 * @returns {Uint8Array} RGB, shape (height, width, 3).
 */
export function resized(image, [outWidth, outHeight], [left, top, right, bottom], interpolation) {
  const { width, height } = image;
  const needsAcross = outWidth !== width || left !== 0 || right !== width;
  const needsDown = outHeight !== height || top !== 0 || bottom !== height;
  const filter = FILTERS[interpolation];
  // Pillow goes down first where that saves more than twice the rows that the other way saves columns.
  const downFirst = filter && needsDown && height - outHeight > 2 * Math.max(width - outWidth, 0);
  const across = filter && needsAcross ? coefficients(filter, width, left, right, outWidth) : null;
  const columns = needsAcross && !filter ? nearest(width, left, right, outWidth) : null;
  const rowLength = (needsAcross && !downFirst ? outWidth : width) * 3;
  let pixels = new Uint8Array(rowLength * height);
  const stripRows = Math.max(Math.floor(STRIP_PIXELS / width), 1);
  for (let y = 0; y < height; y += stripRows) {
    const count = Math.min(stripRows, height - y);
    const rgba = image.rows(y, count);
    let strip;
    if (!needsAcross || downFirst) strip = dropAlpha(rgba);
    else if (across) strip = resizeRows(rgba, 4, width, count, outWidth, across);
    else strip = pickColumns(rgba, width, count, columns);
    pixels.set(strip, y * rowLength);
  }
  if (needsDown && filter) {
    pixels = resizeColumns(pixels, rowLength / 3, outHeight, coefficients(filter, height, top, bottom, outHeight));
  } else if (needsDown) {
    pixels = pickRows(pixels, outWidth, nearest(height, top, bottom, outHeight));
  }
  return downFirst && across ? resizeRows(pixels, 3, width, outHeight, outWidth, across) : pixels;
}

/**
 * What the network sees of an image, as bytes.
 * @returns {Uint8Array} RGB, shape (...networkSize(transform), 3).
 */
export function cropped(image, transform) {
  const { size, box } = plan(transform, image.width, image.height);
  const rgb = resized(image, size, box, transform.interpolation);
  const [width, height] = size;
  const [cropHeight, cropWidth] = networkSize(transform);
  const left = cropStart(width, cropWidth);
  const top = cropStart(height, cropHeight);
  if (left === 0 && top === 0 && width === cropWidth && height === cropHeight) return rgb;
  const out = new Uint8Array(cropWidth * cropHeight * 3);
  const border = transform.pad_rgb ?? [0, 0, 0];
  for (let y = 0, at = 0; y < cropHeight; y += 1) {
    for (let x = 0; x < cropWidth; x += 1, at += 3) {
      const [fromX, fromY] = [x + left, y + top];
      const isInside = fromX >= 0 && fromY >= 0 && fromX < width && fromY < height;
      const from = (fromY * width + fromX) * 3;
      for (let c = 0; c < 3; c += 1) out[at + c] = isInside ? rgb[from + c] : border[c];
    }
  }
  return out;
}

/**
 * Bytes as the network's input, in the arithmetic of 32-bit floats.
 * @returns {Float32Array} shape (channels, height, width).
 */
export function normalised(rgb, transform) {
  const channels = transform.channels ?? "rgb";
  const count = rgb.length / 3;
  const planes = channels === "grey" ? 1 : 3;
  const out = new Float32Array(planes * count);
  for (let plane = 0; plane < planes; plane += 1) {
    const mean = Math.fround(transform.mean[plane]);
    const std = Math.fround(transform.std[plane]);
    const values = Float32Array.from({ length: 256 }, (_, byte) => {
      const scaled = (transform.scale ?? 1) === 1 ? Math.fround(byte / 255) : byte;
      return Math.fround(Math.fround(scaled - mean) / std);
    });
    const from = channels === "bgr" ? 2 - plane : plane;
    for (let i = 0; i < count; i += 1) {
      const at = i * 3;
      const byte = channels === "grey"
        ? (GREY_WEIGHTS[0] * rgb[at] + GREY_WEIGHTS[1] * rgb[at + 1] + GREY_WEIGHTS[2] * rgb[at + 2] + 0x8000) >> 16
        : rgb[at + from];
      out[plane * count + i] = values[byte];
    }
  }
  return out;
}
