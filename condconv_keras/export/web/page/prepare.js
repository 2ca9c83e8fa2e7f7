// What a photo becomes before a model sees it, as docs/mobile.md describes it and evaluation does it.

/** Red, green, blue and alpha of a picture, a byte each, as they are stored: no color is managed, none is blended. */
export function pixelsOf(bitmap) {
  const {width, height} = bitmap;
  const gl = document.createElement("canvas").getContext("webgl");
  if (gl && Math.max(width, height) <= gl.getParameter(gl.MAX_TEXTURE_SIZE)) {
    const data = new Uint8Array(4 * width * height), texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
    gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, data);
    const failed = gl.getError();
    gl.getExtension("WEBGL_lose_context")?.loseContext(); // a browser keeps a few of them only
    if (!failed) return data;
  }
  // A 2D canvas multiplies colors by alpha: it has none where a picture is transparent.
  const canvas = Object.assign(document.createElement("canvas"), {width, height});
  const context = canvas.getContext("2d", {willReadFrequently: true});
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, width, height).data;
}

/**
 * The model's input, height x width x channels in 0..255: channels, center crop, antialiased resize.
 *
 * @param size a dict of width and height, of the picture.
 * @param rgba its pixels, as of `pixelsOf`.
 * @param preprocessing that of the model's card, model.json.
 */
export function prepare({width, height}, rgba, preprocessing) {
  const {input_size: [rows, columns], channels, interpolation, crop_fraction: fraction} = preprocessing;
  const [top, cropRows] = crop(height, width * (rows / columns), fraction);
  const [left, cropColumns] = crop(width, height * (columns / rows), fraction);
  const across = taps(cropColumns, columns, interpolation), down = taps(cropRows, rows, interpolation);
  const narrow = new Float32Array(cropRows * columns * channels);
  const line = new Float32Array(cropColumns * channels);
  for (let y = 0, to = 0; y < cropRows; y++) {
    for (let x = 0, from = 4 * ((top + y) * width + left); x < cropColumns; x++, from += 4) {
      if (channels === 1) line[x] = 0.2989 * rgba[from] + 0.587 * rgba[from + 1] + 0.114 * rgba[from + 2];
      else for (let k = 0; k < 3; k++) line[3 * x + k] = rgba[from + k];
    }
    for (const {first, weights} of across) {
      for (let k = 0; k < channels; k++, to++) narrow[to] = weighted(weights, line, first * channels + k, channels);
    }
  }
  const small = new Float32Array(rows * columns * channels), size = columns * channels;
  down.forEach(({first, weights}, y) => {
    for (let j = 0; j < size; j++) {
      const sum = weighted(weights, narrow, first * size + j, size);
      small[y * size + j] = Math.min(Math.max(sum, 0), 255); // bicubic overshoots at edges
    }
  });
  return small;
}

function weighted(weights, values, at, step) {
  let sum = 0;
  for (let i = 0; i < weights.length; i++, at += step) sum += weights[i] * values[at];
  return sum;
}

/** Begin and length of the center crop of a side; `limit` is what the other side leaves at the input's aspect ratio. */
function crop(side, limit, fraction) {
  if (fraction === 1) return [0, side];
  const box = Math.fround(Math.min(side, Math.fround(limit)));
  const length = Math.max(1, Math.floor(Math.fround(Math.fround(fraction) * box)));
  return [Math.floor((side - length + 1) / 2), length];
}

/** For each of `count` outputs its first input and the weights of all that it averages: more where an image shrinks. */
function taps(side, count, interpolation) {
  const scale = side / count, stretch = Math.max(scale, 1);
  const radius = (interpolation === "bicubic" ? 2 : 1) * stretch;
  return Array.from({length: count}, (_, output) => {
    const center = (output + 0.5) * scale;
    const first = Math.max(0, Math.floor(center - radius)), last = Math.min(side, Math.ceil(center + radius));
    const weights = Array.from({length: last - first},
      (_, i) => kernel(Math.abs(first + i + 0.5 - center) / stretch, interpolation));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return {first, weights: weights.map(weight => weight / sum)};
  });
}

function kernel(x, interpolation) {
  if (interpolation === "bilinear") return Math.max(0, 1 - x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

/** The file without its EXIF orientation, by which browsers turn a photo: for a model that was not trained so. */
export async function asStored(photo) {
  const bytes = new Uint8Array(await photo.arrayBuffer());
  const word = at => 256 * bytes[at] + bytes[at + 1];
  if (word(0) !== 0xffd8) return photo; // no JPEG
  for (let at = 2; bytes[at] === 0xff && bytes[at + 1] !== 0xda; at += 2 + word(at + 2)) {
    if (bytes[at + 1] === 0xe1) bytes[at + 4] = 0; // what was "Exif" is nothing that a decoder knows
  }
  return new Blob([bytes]);
}
