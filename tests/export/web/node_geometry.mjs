// Reads tasks from stdin: a line of JSON, then that many bytes of RGBA; writes the bytes and floats that come of each.
import { readFileSync, writeSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { cropped, normalised } = await import(pathToFileURL(process.argv[2]).href);
const input = readFileSync(0);
let at = 0;
while (at < input.length) {
  const end = input.indexOf(10, at);
  const { width, height, transform } = JSON.parse(input.subarray(at, end).toString());
  const rgba = input.subarray(end + 1, end + 1 + width * height * 4);
  at = end + 1 + width * height * 4;
  const rows = (y, count) => rgba.subarray(y * width * 4, (y + count) * width * 4);
  const bytes = cropped({ width, height, rows }, transform);
  for (const part of [bytes, new Uint8Array(normalised(bytes, transform).buffer)]) {
    for (let sent = 0; sent < part.length;) sent += writeSync(1, part, sent);
  }
}
