/* The page try_it: what a reader does, told to the worker, and what the worker says, shown. */

const part = (name) => document.querySelector(`#try-it [data-part="${name}"]`);
const base = new URL(".", import.meta.url);
const [stage, handle, status] = ["stage", "handle", "status"].map(part);
const knobs = { rebalance: part("rebalance"), temperature: part("temperature") };
const MOST = 2 ** 28; // pixels of a canvas, in the browsers that take the most
const FEW = 2 ** 24; // in those that take the fewest

let worker, facts, ready;
let id = 0; // of the newest picture
let job = 0; // of the newest settings
let coming = null; // {id, name, file} of a picture that is being read
let picture = null; // the same, and its size, of the one shown
let painted = false; // whether every pixel of it has its color

const say = (text) => (status.textContent = text);
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
const settings = () => ({ rebalance: +knobs.rebalance.value, temperature: +knobs.temperature.value });

// Starting ----------------------------------------------------------------------------------------------------

start().catch(() => {
  say(
    location.protocol === "file:"
      ? "Browsers let a page color pictures only when it comes from a web server. In the folder of the built book, run python -m http.server and open the address that it prints."
      : "This copy of the book was built without the colorizer, so this page can't color. make book builds one that can.",
  );
});

async function start() {
  const response = await fetch(new URL("files.json", base));
  if (!response.ok) throw new Error("no list of files");
  facts = { ...(await response.json()), base: base.href };
  facts.pictures.forEach(example);
  worker = new Worker(new URL("worker.js", base), { type: "module" });
  worker.onmessage = ({ data }) => told[data.kind](data);
  worker.onerror = (event) => {
    event.preventDefault();
    told.failed({ what: "this browser does not run the page's worker" });
  };

  for (const [name, knob] of Object.entries(knobs)) knob.defaultValue = knob.value = facts[name];
  recolor();

  const files = [...facts.runtime, facts.model];
  const size = files.reduce((sum, file) => sum + file.download, 0);
  part("fetch").textContent = `Fetch the colorizer (${megabytes(size)})`;
  part("fetch").disabled = false;
  part("fetch").addEventListener("click", load);
  const elsewhere = facts.runtime.find((file) => !file.packed);
  part("source").textContent = elsewhere
    ? `The runtime comes from ${new URL(elsewhere.url).host}, the network from this page's own address. Your picture goes to neither.`
    : "It comes from this page's own address.";
}

// The button holds the file itself, so that it needs no network later.
async function example({ url, name, text }) {
  const button = Object.assign(document.createElement("button"), { type: "button", title: text, disabled: true });
  part("examples").append(button);
  const response = await fetch(new URL(url, base)).catch(() => null);
  if (!response?.ok) return button.remove();
  const file = await response.blob();
  button.append(Object.assign(new Image(), { src: URL.createObjectURL(file), alt: text }));
  button.addEventListener("click", () => take(file, name));
  button.disabled = false;
}

function load() {
  part("fetch").disabled = true;
  part("progress").hidden = false;
  part("progress").value = 0;
  say("Fetching ...");
  worker.postMessage({ kind: "load", facts });
}

// Pictures come in --------------------------------------------------------------------------------------------

function take(file, name = file.name?.replace(/\.[^.]*$/, "") || "picture") {
  if (!worker) return;
  coming = { id: ++id, name, file, most: MOST };
  say("Reading the picture ...");
  read(coming);
}

function read({ id, file, most }) {
  worker.postMessage({ kind: "picture", id, file, most, own: part("own").checked, imageSize: facts.imageSize });
}

for (const name of ["file", "camera"]) {
  part(name).addEventListener("change", (event) => {
    if (event.target.files[0]) take(event.target.files[0]);
    event.target.value = ""; // so that the same file can be chosen again
  });
}

const holds = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
window.addEventListener("dragover", (event) => {
  if (!holds(event)) return;
  event.preventDefault();
  document.getElementById("try-it").classList.add("try-over");
});
window.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.getElementById("try-it").classList.remove("try-over");
});
window.addEventListener("drop", (event) => {
  if (!holds(event)) return;
  event.preventDefault();
  document.getElementById("try-it").classList.remove("try-over");
  if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
});
window.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files][0];
  if (file) take(file);
});

// The worker tells --------------------------------------------------------------------------------------------

const told = {
  progress: ({ share }) => {
    part("progress").value = share;
    if (share === 1) say("Getting it ready ...");
  },

  ready: () => {
    ready = true;
    part("fetch").parentElement.hidden = true;
    say(picture ? "Coloring ..." : "The colorizer is here. Choose a picture; no network is needed any more.");
  },

  failed: ({ what }) => {
    part("progress").hidden = true;
    part("fetch").disabled = ready;
    say(ready ? `The picture could not be colored: ${what}.` : `The colorizer did not come: ${what}. Try again.`);
  },

  unreadable: (message) => {
    if (message.id !== id) return;
    const still = picture ? " The last one is still here." : "";
    say(
      message.what
        ? `This picture can't be colored here: ${message.what}.${still}`
        : `This browser can't read that file as a picture. JPEG, PNG and WebP work everywhere.${still}`,
    );
  },

  opened: (message) => {
    if (message.id !== id) return;
    painted = false;
    part("download").disabled = true;
    picture = { ...coming, size: message.size };
    if (!fits(message.size) && picture.most !== FEW) {
      coming.most = FEW;
      return read(coming);
    }
    part("own-label").hidden = !message.colored;
    part("controls").hidden = part("view").hidden = false;
    stage.style.setProperty("--shape", message.size[0] / message.size[1]);
    stage.classList.add("try-waiting");
    say(ready ? "Coloring ..." : "This is what the model will see. Fetch the colorizer to see it in color.");
  },

  before: (message) => {
    if (message.id !== picture?.id) return;
    const canvas = part("before");
    [canvas.width, canvas.height] = message.size;
    canvas.getContext("2d").putImageData(new ImageData(message.pixels, ...message.size), 0, 0);
    canvas.setAttribute("aria-label", part("own").checked ? "The picture in its own colors" : "The picture in gray");
  },

  preview: (message) => {
    if (message.id !== picture?.id || message.job !== job) return;
    const canvas = part("after");
    const context = canvas.getContext("2d");
    const image = new ImageData(message.pixels, ...message.size);
    if (message.whole) {
      context.putImageData(image, 0, 0);
    } else {
      const small = new OffscreenCanvas(...message.size);
      small.getContext("2d").putImageData(image, 0, 0);
      context.drawImage(small, 0, 0, canvas.width, canvas.height);
    }
    stage.classList.remove("try-waiting");
  },

  band: (message) => {
    if (message.id !== picture?.id || message.job !== job) return;
    const image = new ImageData(message.pixels, message.width);
    part("after").getContext("2d").putImageData(image, 0, message.top);
  },

  done: (message) => {
    if (message.id !== picture?.id || message.job !== job) return;
    painted = true;
    part("download").disabled = false;
    const [width, height] = picture.size;
    const seconds = (time) => `${(time / 1000).toFixed(time < 1000 ? 2 : 1)} s`;
    const note = picture.most === FEW ? " This browser shows no larger ones, so it was made smaller." : "";
    say(`${width} × ${height} pixels, colored in ${seconds(message.total)}; the network took ${seconds(message.network)}.${note}`);
  },
};

/** Gives the canvas the picture's size; whether the browser can show it. */
function fits([width, height]) {
  const canvas = part("after");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) return false;
  context.fillStyle = "gray";
  context.fillRect(width - 1, height - 1, 1, 1);
  const shown = context.getImageData(width - 1, height - 1, 1, 1).data[3] === 255;
  context.clearRect(0, 0, width, height);
  return shown;
}

// Sliders and buttons -----------------------------------------------------------------------------------------

function showKnobs() {
  for (const [name, knob] of Object.entries(knobs)) part(`${name}-shown`).textContent = (+knob.value).toFixed(2);
}

function recolor() {
  showKnobs();
  painted = false;
  part("download").disabled = true;
  worker.postMessage({ kind: "color", job: ++job, settings: settings() });
}

for (const knob of Object.values(knobs)) knob.addEventListener("input", recolor);
part("reset").addEventListener("click", () => {
  for (const knob of Object.values(knobs)) knob.value = knob.defaultValue;
  recolor();
});
part("own").addEventListener("change", () => worker.postMessage({ kind: "before", own: part("own").checked }));

function move() {
  stage.style.setProperty("--at", `${handle.value}%`);
  handle.setAttribute("aria-valuetext", `${handle.value} of 100`);
}
handle.addEventListener("input", move);
move();

// The keys move the slider itself; a finger or the mouse may take hold anywhere on the picture.
function point(event) {
  const box = stage.getBoundingClientRect();
  handle.value = Math.round((100 * (event.clientX - box.left)) / box.width);
  move();
}
stage.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  event.preventDefault();
  handle.focus({ preventScroll: true, focusVisible: false });
  stage.setPointerCapture(event.pointerId);
  point(event);
});
stage.addEventListener("pointermove", (event) => {
  if (stage.hasPointerCapture(event.pointerId)) point(event);
});

part("download").addEventListener("click", async () => {
  if (!painted) return;
  const blob = await new Promise((done) => part("after").toBlob(done, "image/jpeg", 0.95));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${picture.name}-colored.jpg`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
});
