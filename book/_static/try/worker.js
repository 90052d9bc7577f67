/* Reads a picture, runs the network once on it and colors it, off the page's own thread.

   Asked: {kind: "load", facts}, {kind: "picture", id, file, own, most, imageSize}, {kind: "before", own} and
   {kind: "color", job, settings}. The newest picture and the newest settings are what counts.
   Told: progress, ready, failed; opened, before and unreadable of a picture; preview, band and done of a picture in
   some settings. See page.js. */

import * as core from "./colorize.js";

const BAND = 2 ** 20; // pixels of a large picture that are worked on at once
const PREVIEW = 2 ** 20; // the most pixels that are colored at each move of a slider

let facts, session, runtime;
let picture = null;
let wanted; // the id of the newest picture, which may still have to be read
let asked = null; // the newest settings, {job, settings}
let busy = false;

const handlers = { load, picture: open, color, before };
onmessage = ({ data }) => handlers[data.kind](data);

// Fetching ----------------------------------------------------------------------------------------------------

async function load(message) {
  if (session) return;
  try {
    facts = message.facts;
    const files = [...facts.runtime, facts.model];
    const got = files.map(() => 0);
    const total = files.reduce((sum, file) => sum + file.bytes, 0);
    const [code, binary, model] = await Promise.all(
      files.map((file, i) =>
        fetched(file, (bytes) => {
          got[i] = Math.min(bytes, file.bytes);
          postMessage({ kind: "progress", share: got.reduce((a, b) => a + b) / total });
        }),
      ),
    );
    postMessage({ kind: "progress", share: 1 });
    await forget(files);
    const address = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
    runtime = await import(address);
    URL.revokeObjectURL(address);
    Object.assign(runtime.env.wasm, { wasmBinary: binary, numThreads: 1, proxy: false });
    session = await runtime.InferenceSession.create(model, { executionProviders: ["wasm"] });
    postMessage({ kind: "ready" });
    await run();
  } catch (error) {
    session = undefined;
    postMessage({ kind: "failed", what: said(error) });
  }
}

/** The bytes of a file, unpacked and held against its checksum; from the browser's store where an earlier visit left
    them there. */
async function fetched(file, progress) {
  const address = new URL(file.url, facts.base);
  const kept = await store();
  const key = new URL(`?${encodeURIComponent(file.integrity)}`, address);
  const found = await kept?.match(key);
  const bytes = found ? new Uint8Array(await found.arrayBuffer()) : await downloaded(file, address, progress);
  if (crypto.subtle) {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    if (btoa(String.fromCharCode(...digest)) !== file.integrity) throw new Error(`${address.href} is another file`);
  }
  progress(file.bytes);
  if (!found) await kept?.put(key, new Response(bytes)).catch(() => {}); // it may be full
  return bytes;
}

// A private window may have none, and pages that came unencrypted from another machine have none.
const store = async () => globalThis.caches?.open("try-it").catch(() => undefined);

/** Drops from the store what an earlier edition of the book left there. */
async function forget(files) {
  const kept = await store();
  const used = files.map((file) => encodeURIComponent(file.integrity));
  for (const request of (await kept?.keys()) ?? []) {
    if (!used.includes(new URL(request.url).search.slice(1))) await kept.delete(request);
  }
}

async function downloaded(file, address, progress) {
  // Browsers offer checksums only to pages that came encrypted or from this machine; `integrity` is for the others.
  const options = crypto.subtle ? {} : { integrity: `sha256-${file.integrity}` };
  const response = await fetch(address, file.packed ? {} : options);
  if (!response.ok) throw new Error(`${address.href} answered ${response.status}`);
  const parts = [];
  let count = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    progress((count += value.length));
  }
  const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
  if (file.packed && bytes[0] === 0x1f && bytes[1] === 0x8b) {
    // Some servers unpack such a file on the way.
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }
  return bytes;
}

// Reading -----------------------------------------------------------------------------------------------------

const surface = (width, height) =>
  new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });

/** Rows of a bitmap as bytes, on white where it is transparent. */
function rowsOf(bitmap, context, top, rows) {
  context.fillStyle = "white";
  context.fillRect(0, 0, bitmap.width, rows);
  context.drawImage(bitmap, 0, -top);
  return context.getImageData(0, 0, bitmap.width, rows).data;
}

// Lets messages in between two bands; a timer would wait longer.
function breath() {
  return new Promise((go) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      go();
    };
    port2.postMessage(0);
  });
}

async function open({ id, file, own, most, imageSize }) {
  wanted = id;
  const start = session && performance.now();
  try {
    const bitmap = await decoded(file, most);
    if (id !== wanted) return bitmap.close();
    picture?.bitmap.close();
    picture = { id, bitmap, size: [bitmap.width, bitmap.height], start };
  } catch {
    if (id === wanted) postMessage({ kind: "unreadable", id });
    return;
  }
  try {
    if (await survey(picture, own, imageSize)) await run();
  } catch (error) {
    if (id === wanted) postMessage({ kind: "unreadable", id, what: said(error) });
  }
}

const said = (error) => String(error?.message ?? error);

async function decoded(file, most) {
  const upright = { imageOrientation: "from-image" };
  const bitmap = await createImageBitmap(file, upright);
  if (bitmap.width * bitmap.height <= most) return bitmap;
  const [resizeWidth, resizeHeight] = fitted(bitmap, most);
  bitmap.close();
  return createImageBitmap(file, { ...upright, resizeWidth, resizeHeight, resizeQuality: "high" });
}

function fitted({ width, height }, pixels) {
  const scale = Math.min(1, Math.sqrt(pixels / (width * height)));
  return [width, height].map((side) => Math.max(1, Math.floor(side * scale)));
}

/** Goes once over a picture: what the network sees, the guide, a preview, and whether it has colors. */
async function survey(mine, own, imageSize) {
  const { bitmap, size } = mine;
  const [width, height] = size;
  mine.sizes = core.sizes(width, height, imageSize);
  const { reduced, shown, low } = mine.sizes;
  const same = reduced[0] === width && reduced[1] === height;
  const small = same ? null : new core.Resizer(size, reduced);
  const guide = new core.Resizer(size, low);
  const rows = Math.max(1, Math.floor(BAND / width));
  const context = surface(width, Math.min(rows, height));
  let whole = null;
  for (let top = 0; top < height; top += rows) {
    const data = rowsOf(bitmap, context, top, Math.min(rows, height - top));
    const levels = core.lightness(data);
    if (same) (whole ??= new Float32Array(width * height)).set(levels, top * width);
    small?.add(levels);
    guide.add(levels);
    await breath();
    if (picture !== mine) return false;
  }
  mine.shown = core.gray(core.resized(same ? whole : small.result(), reduced, shown));
  mine.guide = guide.result();
  mine.preview = await previewOf(bitmap);
  postMessage({ kind: "opened", id: mine.id, size, colored: core.hasColor(mine.preview.data) });
  before({ own });
  return true;
}

async function previewOf(bitmap) {
  const size = fitted(bitmap, PREVIEW);
  const small =
    size[0] === bitmap.width
      ? bitmap
      : await createImageBitmap(bitmap, { resizeWidth: size[0], resizeHeight: size[1], resizeQuality: "high" });
  const data = rowsOf(small, surface(...size), 0, size[1]);
  if (small !== bitmap) small.close();
  return { data, size };
}

/** Sends what the handle uncovers: the gray picture, or the file's own colors. */
function before({ own }) {
  if (!picture?.preview) return;
  const { id } = picture;
  const pixels = picture.preview.data.slice();
  if (!own) core.paintGray(pixels);
  postMessage({ kind: "before", id, size: picture.preview.size, pixels }, [pixels.buffer]);
}

// Coloring ----------------------------------------------------------------------------------------------------

function color({ job, settings }) {
  asked = { job, settings };
  return run();
}

/** Colors the newest picture in the newest settings, until both are done. One at a time: a newer wish waits for
    the step that is going on, and takes the older one's place. */
async function run() {
  if (busy || !session) return;
  busy = true;
  try {
    for (let done = {}; picture?.preview && (done.picture !== picture || done.asked !== asked); ) {
      done = { picture, asked };
      await attempt(picture, asked);
    }
  } catch (error) {
    postMessage({ kind: "failed", what: said(error) });
  } finally {
    busy = false;
  }
}

async function attempt(mine, wish) {
  const start = performance.now();
  const { shown, low } = mine.sizes;
  if (!mine.scores) {
    const dims = [shown[1] / 32, 32, shown[0] / 32, 32];
    const answer = await session.run({ gray: new runtime.Tensor("float32", mine.shown, dims) });
    mine.scores = answer.scores.data.slice();
    Object.values(answer).forEach((tensor) => tensor.dispose());
    mine.network = performance.now() - start;
  }
  const stale = () => picture !== mine || wish !== asked;
  const color = core.annealedMean(mine.scores, facts.bins, facts.logWeights, wish.settings);
  const [width, height] = mine.size;
  const maps = core.coefficients(color, mine.guide, low, mine.size);

  const { preview } = mine;
  const whole = preview.size[0] === width;
  const pixels = core.paint(preview.data.slice(), 0, preview.size, maps);
  if (stale()) return;
  const told = { id: mine.id, job: wish.job };
  postMessage({ kind: "preview", ...told, size: preview.size, pixels, whole }, [pixels.buffer]);
  if (!whole) {
    const rows = Math.max(1, Math.floor(BAND / width));
    const context = surface(width, Math.min(rows, height));
    for (let top = 0; top < height; top += rows) {
      await breath();
      if (stale()) return;
      const band = core.paint(rowsOf(mine.bitmap, context, top, Math.min(rows, height - top)), top, mine.size, maps);
      postMessage({ kind: "band", ...told, top, width, pixels: band }, [band.buffer]);
    }
  }
  const now = performance.now();
  postMessage({ kind: "done", ...told, total: now - (mine.start ?? start), network: mine.network });
  mine.start = undefined;
}
