// From a file to upright pixels, as imgcls/images/decoding.py gives them, with what the browser decodes.

// Where predict gives up, too.
const MAX_PIXELS = 178956970;
const UNREADABLE = "this browser can't read it as an image";

/** An error that a person can read. */
export class ImageFault extends Error {}

/** Colours over a background, in the integers of Pillow's alpha_composite; without one, the colours as they are. */
function overBackground(rgba, background) {
  if (!background) return rgba;
  for (let at = 0; at < rgba.length; at += 4) {
    const above = rgba[at + 3] * 128;
    const below = 255 * 128 - above;
    for (let c = 0; c < 3; c += 1) {
      const sum = rgba[at + c] * above + background[c] * below + (0x80 << 7);
      rgba[at + c] = ((sum >> 8) + sum) >> 8 >> 7;
    }
  }
  return rgba;
}

function isOpaque(rgba) {
  for (let at = 3; at < rgba.length; at += 4) if (rgba[at] !== 255) return false;
  return true;
}

/** Colours that a canvas would lose: it keeps them multiplied by their alpha. */
async function unmultiplied(blob, width, height) {
  if (typeof ImageDecoder === "undefined") return null;
  let decoder;
  try {
    decoder = new ImageDecoder({
      data: await blob.arrayBuffer(), type: blob.type, colorSpaceConversion: "none", premultiplyAlpha: "none",
    });
    const { image } = await decoder.decode();
    const rgba = new Uint8ClampedArray(width * height * 4);
    const isSame = image.displayWidth === width && image.displayHeight === height;
    if (isSame) await image.copyTo(rgba, { format: "RGBA" });
    image.close();
    return isSame ? rgba : null;
  } catch {
    return null;
  } finally {
    decoder?.close();
  }
}

/**
 * Decode a file.
 * @param {Blob} blob the file.
 * @param {number[] | null} background what lies behind transparent images.
 * @returns {Promise<{width: number, height: number, rows: Function, close: Function}>} `rows(y, count)` gives RGBA.
 */
export async function decoded(blob, background) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, {
      imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none",
    });
  } catch {
    throw new ImageFault(UNREADABLE);
  }
  const { width, height } = bitmap;
  if (width * height > MAX_PIXELS) {
    bitmap.close();
    throw new ImageFault(`${width} × ${height} is more than ${MAX_PIXELS.toLocaleString("en")} pixels`);
  }
  const read = (y, count) => {
    const canvas = new OffscreenCanvas(width, count);
    const context = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
    context.drawImage(bitmap, 0, -y);
    return context.getImageData(0, 0, width, count).data;
  };
  // Most kinds of files have no transparency to ask about.
  const mayBeTransparent = blob.type !== "image/jpeg" && blob.type !== "image/bmp";
  const whole = mayBeTransparent && !isOpaque(read(0, height)) ? await unmultiplied(blob, width, height) : null;
  const rows = (y, count) => {
    const rgba = whole ? whole.subarray(y * width * 4, (y + count) * width * 4) : read(y, count);
    return mayBeTransparent ? overBackground(rgba, background) : rgba;
  };
  return { width, height, rows, close: () => bitmap.close() };
}
