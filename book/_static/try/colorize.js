/* What colorlib.colorize does before and after the network, with the library's own numbers.

   Pictures come as bytes of RGBA, row by row, as a canvas gives them. Maps are Float32Array, row by row; a map of
   color is [a, b]. Nothing here knows of a page, a worker or the network's runtime. The names are those of
   colorlib/models/base.py, photo.py and colorlib/color, where the sources are cited. */

const COARSEST = 32; // the network's sides are multiples of it
const CELL = 4; // pixels of the network's input a side of one cell of its output
const LONGEST = 16; // the longer side of what is enlarged, in shorter sides of what training saw

// Relative luminance and CIE lightness ------------------------------------------------------------------------

const WHITE = [0.95047, 1, 1.08883];
const XYZ_FROM_RGB = [
  [0.412453, 0.35758, 0.180423],
  [0.212671, 0.71516, 0.072169],
  [0.019334, 0.119193, 0.950227],
].map((row, i) => row.map((m) => m / WHITE[i]));
const RGB_FROM_XYZ = inverse(XYZ_FROM_RGB).flat();

function inverse([[a, b, c], [d, e, f], [g, h, i]]) {
  const [A, B, C] = [e * i - f * h, f * g - d * i, d * h - e * g];
  const determinant = a * A + b * B + c * C;
  return [
    [A, c * h - b * i, b * f - c * e],
    [B, a * i - c * g, c * d - a * f],
    [C, b * g - a * h, a * e - b * d],
  ].map((row) => row.map((value) => value / determinant));
}

const toLinear = (v) => (v > 0.04045 ? ((v + 0.055) / 1.055) ** 2.4 : v / 12.92);
const LINEAR = Float64Array.from({ length: 256 }, (_, value) => toLinear(value / 255));

/** CIE lightness in [0, 100] of `count` pixels, from the pixel `first` on. */
export function lightness(rgba, first = 0, count = rgba.length / 4 - first) {
  const [red, green, blue] = XYZ_FROM_RGB[1];
  const out = new Float32Array(count);
  for (let i = 0, j = 4 * first; i < count; i++, j += 4) {
    const y = red * LINEAR[rgba[j]] + green * LINEAR[rgba[j + 1]] + blue * LINEAR[rgba[j + 2]];
    out[i] = 116 * (y > 0.008856 ? Math.cbrt(y) : Math.cbrt(0.008856) + 7.787 * (y - 0.008856)) - 16;
  }
  return out;
}

/** Whether a pixel's channels differ by more than a gray picture's compression makes them. */
export function hasColor(rgba) {
  for (let i = 0; i < rgba.length; i += 4) {
    if (Math.abs(rgba[i] - rgba[i + 1]) > 8 || Math.abs(rgba[i + 1] - rgba[i + 2]) > 8) return true;
  }
  return false;
}

/** The sRGB gray in [0, 1] of a lightness: what the network is shown. */
export function gray(map) {
  return map.map((value) => {
    const f = (value + 16) / 116;
    const y = f > 6 / 29 ? f ** 3 : 3 * (6 / 29) ** 2 * (f - 4 / 29);
    return y > 0.0031308 ? 1.055 * y ** (1 / 2.4) - 0.055 : 12.92 * y;
  });
}

// Sizes, and making smaller -----------------------------------------------------------------------------------

// Python rounds a half to the even neighbor.
function round(x) {
  const low = Math.floor(x);
  return x - low === 0.5 ? low + (low % 2) : Math.round(x);
}

/** Sizes [width, height] of a picture on its way: reduced, as the network is shown it, and the network's answer. */
export function sizes(width, height, imageSize) {
  let reduced = [width, height];
  const shorter = Math.min(width, height);
  if (shorter > imageSize) reduced = reduced.map((side) => Math.max(1, round(side * (imageSize / shorter))));
  let shown = reduced;
  const least = Math.min(...reduced);
  if (least < imageSize) {
    const larger = Math.max(1, Math.min(imageSize / least, (LONGEST * imageSize) / Math.max(...reduced)));
    shown = reduced.map((side) => Math.ceil(side * larger));
  }
  shown = shown.map((side) => Math.max(1, round(side / COARSEST)) * COARSEST);
  return { reduced, shown, low: shown.map((side) => side / CELL) };
}

// Which pixels make a new one, and their shares: bilinear interpolation with antialiasing, as torch has it.
function shares(from, to) {
  const scale = from / to;
  const support = Math.max(scale, 1);
  return Array.from({ length: to }, (_, i) => {
    const center = scale * (i + 0.5);
    const first = Math.max(Math.trunc(center - support + 0.5), 0);
    const end = Math.min(Math.trunc(center + support + 0.5), from);
    const weights = Float64Array.from({ length: end - first }, (_, j) =>
      Math.max(0, 1 - Math.abs(first + j - center + 0.5) / support),
    );
    const sum = weights.reduce((a, b) => a + b, 0);
    return { first, end, weights: weights.map((weight) => weight / sum) };
  });
}

/** Brings a map to another size; its rows may come in bands, from above downward, so a large one is never whole. */
export class Resizer {
  constructor([width, height], [newWidth, newHeight]) {
    Object.assign(this, { width, newWidth, row: 0, columns: shares(width, newWidth) });
    this.rows = shares(height, newHeight);
    this.sums = new Float64Array(newWidth * newHeight);
    this.line = new Float64Array(newWidth);
    this.open = 0; // the first new row that is not finished
  }

  add(band) {
    const { width, newWidth, line, sums, rows } = this;
    for (let start = 0; start < band.length; start += width, this.row++) {
      this.columns.forEach(({ first, weights }, x) => {
        let sum = 0;
        for (let j = 0; j < weights.length; j++) sum += weights[j] * band[start + first + j];
        line[x] = sum;
      });
      while (this.open < rows.length && rows[this.open].end <= this.row) this.open++;
      for (let y = this.open; y < rows.length && rows[y].first <= this.row; y++) {
        const weight = rows[y].weights[this.row - rows[y].first];
        for (let x = 0; x < newWidth; x++) sums[y * newWidth + x] += weight * line[x];
      }
    }
    return this;
  }

  result() {
    return Float32Array.from(this.sums);
  }
}

/** A whole map (width, height) at another size. */
export function resized(map, size, newSize) {
  const same = size[0] === newSize[0] && size[1] === newSize[1];
  return same ? map : new Resizer(size, newSize).add(map).result();
}

// From the network's answer to color --------------------------------------------------------------------------

/** The color of each cell: the bins' mean after rebalancing and sharpening.

    The scores (bins, cells) are log probabilities up to a constant; `rebalance` 1 leaves them as trained;
    `logWeights` are the logarithms of the weights of the training's loss. */
export function annealedMean(scores, bins, logWeights, { temperature, rebalance }) {
  const cells = scores.length / bins.length;
  const shift = logWeights.map((weight) => (rebalance - 1) * weight);
  const most = new Float64Array(cells).fill(-Infinity);
  const best = new Uint16Array(cells);
  bins.forEach((_, q) => {
    for (let i = 0; i < cells; i++) {
      const score = scores[q * cells + i] + shift[q];
      if (score > most[i]) [most[i], best[i]] = [score, q];
    }
  });
  if (temperature === 0) return [0, 1].map((axis) => Float32Array.from(best, (q) => bins[q][axis]));
  const [sum, a, b] = [0, 1, 2].map(() => new Float64Array(cells));
  bins.forEach(([binA, binB], q) => {
    for (let i = 0; i < cells; i++) {
      const weight = Math.exp((scores[q * cells + i] + shift[q] - most[i]) / temperature);
      sum[i] += weight;
      a[i] += weight * binA;
      b[i] += weight * binB;
    }
  });
  return [a, b].map((total) => Float32Array.from(total, (value, i) => value / sum[i]));
}

// Means over 3 x 3 windows, which end at the edge.
function windowMean(map, [width, height]) {
  const out = new Float64Array(map.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [left, right] = [Math.max(x - 1, 0), Math.min(x + 1, width - 1)];
      const [top, bottom] = [Math.max(y - 1, 0), Math.min(y + 1, height - 1)];
      let sum = 0;
      for (let v = top; v <= bottom; v++) for (let u = left; u <= right; u++) sum += map[v * width + u];
      out[y * width + x] = sum / ((right - left + 1) * (bottom - top + 1));
    }
  }
  return out;
}

/** Slope and offset of a map of color over a guide of its size, lightness / 100: the guided filter's. */
export function guidedCoefficients(guide, color, size, eps = 3e-3) {
  const mean = (map) => windowMean(map, size);
  const product = (x, y) => Float64Array.from(x, (value, i) => value * y[i]);
  const center = mean(guide);
  const variance = mean(product(guide, guide)).map((value, i) => value - center[i] ** 2);
  const both = color.map((map) => {
    const middle = mean(map);
    const slope = mean(product(guide, map)).map((v, i) => (v - center[i] * middle[i]) / (variance[i] + eps));
    return { slope: mean(slope), offset: mean(middle.map((value, i) => value - slope[i] * center[i])) };
  });
  return { slope: both.map((axis) => axis.slope), offset: both.map((axis) => axis.offset) };
}

/** The two maps from which `paint` makes the color of each pixel, from the network's color and the lightness. */
export function coefficients(color, lightnessLow, low, full) {
  if (low[0] === full[0] && low[1] === full[1]) {
    const none = color.map((map) => new Float64Array(map.length));
    return { slope: none, offset: color, low };
  }
  return { ...guidedCoefficients(lightnessLow.map((value) => value / 100), color, low), low };
}

// Into the gamut and to bytes ---------------------------------------------------------------------------------

const [GAMUT_LOW, GAMUT_HIGH] = [-5e-5 / 12.92, toLinear(1 + 5e-5)];
const CURVE = 0.2068966; // below, the lightness curve's inverse is a line
const uncurved = (v) => (v > CURVE ? v * v * v : CURVE ** 3 + (v - CURVE) / 7.787);

// The least linear value of each byte, and the byte of every 4096th: at most a step below the right one.
const EDGES = Float64Array.from({ length: 257 }, (_, value) =>
  value === 0 ? -Infinity : value === 256 ? Infinity : toLinear((value - 0.5) / 255),
);
const GUESS = new Uint8Array(4097);
for (let i = 0, value = 0; i <= 4096; i++) {
  while (i / 4096 >= EDGES[value + 1]) value++;
  GUESS[i] = value;
}

function toByte(linear) {
  if (!(linear > 0)) return 0;
  if (linear >= 1) return 255;
  let value = GUESS[Math.floor(linear * 4096)];
  while (linear >= EDGES[value + 1]) value++;
  return value;
}

const linear = new Float64Array(3);

// Linear RGB of a color into `linear`; whether it is inside the gamut.
function mix(fy, a, b) {
  const [x, y, z] = [uncurved(fy + a / 500), uncurved(fy), uncurved(fy - b / 200)];
  const m = RGB_FROM_XYZ;
  const red = m[0] * x + m[1] * y + m[2] * z;
  const green = m[3] * x + m[4] * y + m[5] * z;
  const blue = m[6] * x + m[7] * y + m[8] * z;
  linear[0] = red;
  linear[1] = green;
  linear[2] = blue;
  return (
    red >= GAMUT_LOW && red <= GAMUT_HIGH && green >= GAMUT_LOW && green <= GAMUT_HIGH &&
    blue >= GAMUT_LOW && blue <= GAMUT_HIGH
  );
}

// Where the columns of an enlarged row come from: its left neighbor and the right one's share.
function places(from, to) {
  const left = new Int32Array(to);
  const share = new Float64Array(to);
  for (let x = 0; x < to; x++) {
    const place = Math.min(Math.max((x + 0.5) * (from / to) - 0.5, 0), from - 1);
    left[x] = Math.floor(place);
    share[x] = place - left[x];
  }
  return { left, share };
}

/** Colors rows of a picture in place: `rgba` holds them, `top` is the first one's place in the whole picture.

    Each color keeps its pixel's lightness; one that sRGB cannot show keeps its hue and loses chroma until it fits. */
export function paint(rgba, top, [width, height], { slope, offset, low }) {
  const [lowWidth, lowHeight] = low;
  const { left, share } = places(lowWidth, width);
  const down = places(lowHeight, height);
  const maps = [slope[0], offset[0], slope[1], offset[1]];
  const lines = maps.map(() => new Float64Array(lowWidth + 1));
  const [slopeA, offsetA, slopeB, offsetB] = lines;
  for (let row = 0, j = 0; j < rgba.length; row++) {
    const above = down.left[top + row] * lowWidth;
    const below = Math.min(down.left[top + row] + 1, lowHeight - 1) * lowWidth;
    const part = down.share[top + row];
    lines.forEach((line, k) => {
      for (let x = 0; x < lowWidth; x++) line[x] = maps[k][above + x] + part * (maps[k][below + x] - maps[k][above + x]);
      line[lowWidth] = line[lowWidth - 1];
    });
    const levels = lightness(rgba, row * width, width);
    for (let x = 0; x < width; x++, j += 4) {
      const u = left[x];
      const p = share[x];
      const level = Math.min(Math.max(levels[x], 0), 100);
      const guide = level / 100;
      const a =
        offsetA[u] + p * (offsetA[u + 1] - offsetA[u]) + guide * (slopeA[u] + p * (slopeA[u + 1] - slopeA[u]));
      const b =
        offsetB[u] + p * (offsetB[u + 1] - offsetB[u]) + guide * (slopeB[u] + p * (slopeB[u + 1] - slopeB[u]));
      const fy = (level + 16) / 116;
      if (!mix(fy, a, b)) {
        let inside = 0;
        let outside = 1;
        for (let step = 0; step < 16; step++) {
          const middle = (inside + outside) / 2;
          if (mix(fy, middle * a, middle * b)) inside = middle;
          else outside = middle;
        }
        mix(fy, inside * a, inside * b);
      }
      rgba[j] = toByte(linear[0]);
      rgba[j + 1] = toByte(linear[1]);
      rgba[j + 2] = toByte(linear[2]);
      rgba[j + 3] = 255;
    }
  }
  return rgba;
}

/** Makes rows of a picture gray in place, each pixel of its own lightness. */
export function paintGray(rgba) {
  for (let i = 0; i < rgba.length; i += 4) {
    const [red, green, blue] = XYZ_FROM_RGB[1];
    const y = red * LINEAR[rgba[i]] + green * LINEAR[rgba[i + 1]] + blue * LINEAR[rgba[i + 2]];
    rgba[i] = rgba[i + 1] = rgba[i + 2] = toByte(y);
    rgba[i + 3] = 255;
  }
  return rgba;
}
