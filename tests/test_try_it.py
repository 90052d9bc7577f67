"""The page that colors a reader's photograph, in a real browser, against the library.

The runtime comes from npm as the page is built. Where npm or its network is missing, the page is one that
asks a mirror for it, and the mirror can't be asked here: then the tests of the whole page hold it to what it
says and does in that case, and the tests of all that goes before and after the network run as ever.
"""

import base64
import functools
import gzip
import hashlib
import http.server
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image, ImageOps

import colorlib
from colorlib.color import ab_bins, rgb_to_gray
from colorlib.data import photos
from colorlib.models import base

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
MIRROR = "https://cdn.jsdelivr.net/npm/onnxruntime-web@"
FIVE = ["astronaut", "chelsea", "coffee", "motorcycle", "retina"]  # the last is large enough to come in bands
LOCAL_LIMIT = 13e6  # bytes on the way
MEMORY_LIMIT = 1.5e9  # bytes, of the page with a picture of 12 megapixels; the time for it: 120 s, see `says`


def script():
    spec = importlib.util.spec_from_file_location("browser_script", ROOT / "book" / "browser.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model():
    return colorlib.load("photographs")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A book of this one page: its folder, and the list of the page's files."""
    source = tmp_path_factory.mktemp("book")
    shutil.copytree(
        ROOT / "book", source / "book", ignore=lambda folder, names: [n for n in names if n.endswith(".md")]
    )
    shutil.copy(ROOT / "book" / "try_it.md", source / "book")
    shutil.copy(ROOT / "_config.yml", source)
    (source / "_toc.yml").write_text("format: jb-book\nroot: book/try_it\n")
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    html = source / "_build" / "html"
    assert (html / "book" / "try_it.html").exists(), done.stdout + done.stderr
    files = script().write(html / "_static" / "try", ROOT / "_build" / "try")
    return html, files


def here(files):
    """Whether the runtime lies beside the page."""
    return all(file["packed"] for file in files["runtime"])


@pytest.fixture(scope="module")
def serve():
    """A function that puts a folder on a web server of this machine and gives its address."""
    servers = []

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    def served(folder):
        handler = functools.partial(Quiet, directory=str(folder))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield served
    for server in servers:
        server.shutdown()


@pytest.fixture(scope="module")
def address(site, serve):
    return serve(site[0])


class Page:
    """The page in a tab of its own. What it asked of others than its own address is in `asked`."""

    def __init__(self, browser, address, mirror=None, **options):
        self.context = browser.new_context(accept_downloads=True, **options)
        self.asked, self.trouble = [], []

        def route(route):
            url = route.request.url
            if url.startswith((address, "data:", "blob:")):
                return route.continue_()
            self.asked.append(url)
            body = None if mirror is None else mirror(url)
            if body is None:
                return route.abort()
            return route.fulfill(body=body, headers={"Access-Control-Allow-Origin": "*"})

        self.context.route("**/*", route)
        self.tab = self.context.new_page()
        self.tab.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.tab.goto(address + "book/try_it.html", wait_until="load")

    def part(self, name):
        return self.tab.locator(f'[data-part="{name}"]')

    def says(self, text, timeout=120_000):
        self.tab.wait_for_function(
            "text => document.querySelector('[data-part=status]').innerText.includes(text)",
            arg=text, timeout=timeout,
        )  # fmt: skip
        return self.part("status").inner_text()

    def fetch(self):
        self.tab.wait_for_selector('[data-part="fetch"]:not([disabled])')
        self.part("fetch").click()

    def bring(self, files):
        """Fetch the colorizer; whether it came. Where the mirror is needed it can't, and the page says so."""
        self.fetch()
        if here(files):
            self.says("The colorizer is here")
            assert self.asked == []
            return True
        said = self.says("The colorizer did not come")
        assert said.endswith("Try again.") and self.part("fetch").is_enabled()
        assert self.asked and all(url.startswith(MIRROR) for url in self.asked)
        assert "cdn.jsdelivr.net" in self.part("source").inner_text()
        return False

    def choose(self, content, name="picture.png", mime="image/png"):
        self.part("file").set_input_files({"name": name, "mimeType": mime, "buffer": content})

    def finished(self):
        """Wait until every pixel has its color; give what the page says then."""
        self.tab.wait_for_selector('[data-part="download"]:not([disabled])', timeout=120_000)
        return self.part("status").inner_text()

    def color(self, content, files, **named):
        """Choose a picture and give what the page makes of it, (H, W, 3): in color, or else in gray."""
        self.choose(content, **named)
        self.says("colored in" if here(files) else "This is what the model will see")
        return self.pixels("after" if here(files) else "before")

    def pixels(self, part):
        size, data = self.part(part).evaluate(
            """canvas => {
                const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                let text = "";
                for (let i = 0; i < data.length; i += 30000)
                    text += String.fromCharCode(...data.subarray(i, i + 30000));
                return [[canvas.width, canvas.height], btoa(text)];
            }"""
        )
        return np.frombuffer(base64.b64decode(data), np.uint8).reshape(size[1], size[0], 4)[..., :3]


@pytest.fixture
def open_page(browser, address):
    pages = []

    def opened(address=address, **options):
        pages.append(Page(browser, address, **options))
        return pages[-1]

    yield opened
    for page in pages:
        page.context.close()
        assert page.trouble == []


@pytest.fixture(scope="module")
def colorful(browser, address, site):
    """A page that has the colorizer, for all tests that only color pictures with it."""
    page = Page(browser, address)
    page.bring(site[1])
    yield page
    page.context.close()
    assert page.trouble == []


def noise(height, width, seed=0):
    """A picture with soft shapes and some texture, (H, W, 3), bytes."""
    random = np.random.default_rng(seed)
    few = random.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    soft = np.asarray(Image.fromarray(few).resize((width, height), Image.Resampling.BICUBIC), float)
    return np.clip(soft + random.normal(0, 12, soft.shape), 0, 255).astype(np.uint8)


def photograph(name):
    return (photos(name)[name].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)


def as_file(pixels, form="PNG", **how):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **how)
    return file.getvalue()


def gray_of(pixels):
    return rgb_to_gray(torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float() / 255)


def wanted(model, pixels, files=None, **knobs):
    """What the library makes of a picture, (H, W, 3) in [0, 255]; of the page without a runtime, its gray."""
    gray = gray_of(pixels)
    rgb = gray.expand(-1, 3, -1, -1) if files and not here(files) else model.colorize(gray, **knobs)[0]
    return 255 * rgb[0].permute(1, 2, 0).numpy()


def difference(got, want):
    assert got.shape == want.shape
    return np.abs(got - want).max()


# The network -----------------------------------------------------------------------------------------------


def network(site):
    html, files = site
    return gzip.decompress((html / "_static" / "try" / files["model"]["url"]).read_bytes())


@pytest.mark.parametrize("height, width", [(128, 192), (160, 128), (32, 32), (64, 544)])
def test_the_exported_network_answers_as_pytorch_does(site, model, height, width):
    gray = gray_of(noise(height, width))
    session = onnxruntime.InferenceSession(network(site), providers=["CPUExecutionProvider"])
    cells = gray.reshape(height // 32, 32, width // 32, 32).numpy()
    (got,) = session.run(None, {"gray": cells})
    with torch.no_grad():
        straight, mirrored = (model._scores(each).softmax(1) for each in (gray, gray.flip(-1)))
    want = (straight + mirrored.flip(-1)).log()
    np.testing.assert_allclose(got, want.numpy(), atol=1e-3)


def test_the_weights_travel_in_half_precision_and_lose_nothing(site, model):
    tensors = {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in onnx.load_from_string(network(site)).graph.initializer
    }
    floats = [tensor for tensor in tensors.values() if tensor.dtype in (np.float16, np.float32)]
    half = sum(tensor.size for tensor in floats if tensor.dtype == np.float16)
    assert half > 0.95 * sum(tensor.size for tensor in floats)
    there = {(tensor.shape, tensor.astype(np.float32).tobytes()) for tensor in floats}
    for name, weight in model.named_parameters():
        if weight.dim() == 4:
            assert (tuple(weight.shape), weight.detach().numpy().tobytes()) in there, name


def test_nothing_of_the_building_machine_is_in_the_network(site):
    for trace in (str(ROOT), "colorlib", "site-packages", "stack_trace"):
        assert trace.encode() not in network(site)


def test_the_list_names_what_is_there(site):
    html, files = site
    folder = html / "_static" / "try"
    total = 0
    for file in [*files["runtime"], files["model"]]:
        total += file["download"]
        if file["packed"]:
            packed = (folder / file["url"]).read_bytes()
            assert len(packed) == file["bytes"] == file["download"]
            digest = hashlib.sha256(gzip.decompress(packed)).digest()
            assert base64.b64encode(digest).decode() == file["integrity"]
        else:
            assert file["url"].startswith(MIRROR)
    print(f"\nmodel and runtime: {total / 1e6:.2f} MB on the way")
    assert total < LOCAL_LIMIT
    assert json.loads((folder / "files.json").read_text()) == files
    for picture in files["pictures"]:
        assert (folder / picture["url"]).stat().st_size < 100_000


def test_a_build_without_npm_names_the_mirror(tmp_path, monkeypatch, capsys):
    module = script()
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    listed = module.runtime(tmp_path, tmp_path)
    assert [file["url"].rsplit("/", 1)[1] for file in listed] == list(module.RUNTIME_FILES)
    assert all(file["url"].startswith(MIRROR) and not file["packed"] for file in listed)
    assert "npm is missing" in capsys.readouterr().out


def test_a_build_with_a_failing_npm_names_the_mirror(tmp_path, monkeypatch, capsys):
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\nexit 1\n")
    npm.chmod(0o755)
    module = script()
    monkeypatch.setattr(module.shutil, "which", lambda name: str(npm))
    assert not any(file["packed"] for file in module.runtime(tmp_path, tmp_path))
    assert "did not fetch" in capsys.readouterr().out


def test_another_file_in_the_runtimes_place_stops_the_build(tmp_path, monkeypatch):
    """An npm package that is not the one whose checksums are stated."""
    npm = tmp_path / "npm"
    npm.write_text(
        "#!/bin/sh\nmkdir -p package/dist\n"
        f"for f in {' '.join(script().RUNTIME_FILES)}; do echo other > package/dist/$f; done\n"
        "tar czf other.tgz package\n"
    )
    npm.chmod(0o755)
    module = script()
    monkeypatch.setattr(module.shutil, "which", lambda name: str(npm))
    with pytest.raises(ValueError, match="another checksum"):
        module.runtime(tmp_path, tmp_path)


# Before and after the network: the module, given PyTorch's answers -----------------------------------------

MODULE = """async ([pixels, width, height, scores, facts, settings]) => {
    const core = await import("/_static/try/colorize.js");
    const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));
    const floats = text => new Float32Array(bytes(text).buffer);
    const text = array => {
        const raw = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
        let out = "";
        for (let i = 0; i < raw.length; i += 30000) out += String.fromCharCode(...raw.subarray(i, i + 30000));
        return btoa(out);
    };
    const size = [width, height], rgba = new Uint8ClampedArray(bytes(pixels).buffer);
    const sizes = core.sizes(width, height, facts.imageSize), levels = core.lightness(rgba);
    const reduced = core.resized(levels, size, sizes.reduced);
    const shown = core.gray(core.resized(reduced, sizes.reduced, sizes.shown));
    if (scores === null) return {sizes, levels: text(levels), shown: text(shown)};
    const ab = core.annealedMean(floats(scores), facts.bins, facts.logWeights, settings);
    const maps = core.coefficients(ab, core.resized(levels, size, sizes.low), sizes.low, size);
    core.paint(rgba, 0, size, maps);
    return {ab: ab.map(text), rgba: text(rgba)};
}"""


def encoded(array):
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def decoded(text, kind=np.float32):
    return np.frombuffer(base64.b64decode(text), kind)


def rgba(pixels):
    return np.concatenate([pixels, np.full_like(pixels[..., :1], 255)], -1)


@pytest.fixture(scope="module")
def module(browser, address):
    """A function that runs the page's processing on a picture, given the network's answer."""
    tab = browser.new_page()
    tab.goto(address + "_static/try/page.css")

    def run(model, pixels, scores=None, **settings):
        height, width, _ = pixels.shape
        facts = {
            "imageSize": model.image_size,
            "bins": ab_bins().tolist(),
            "logWeights": model.weights.log().tolist(),
        }
        scores = None if scores is None else encoded(scores)
        return tab.evaluate(MODULE, [encoded(rgba(pixels)), width, height, scores, facts, settings])

    yield run
    tab.close()


SIZES = [(1, 1), (2, 3), (40, 33), (100, 128), (128, 129), (130, 400), (256, 256), (301, 97), (700, 30)]


def asked_of_the_network(model, pixels, monkeypatch, **knobs):
    """The gray that the library shows to the network, its answers, and the coloring."""
    shown, answers, answer = [], [], model._scores

    def note(gray):
        shown.append(gray)
        answers.append(answer(gray))
        return answers[-1]

    monkeypatch.setattr(model, "_scores", note)
    with torch.no_grad():
        colored = wanted(model, pixels, **knobs)
        straight, mirrored = (each.log_softmax(1) for each in answers)
    return shown[0], torch.logaddexp(straight, mirrored.flip(-1)), colored


@pytest.mark.parametrize("height, width", SIZES)
def test_the_module_shows_the_network_what_the_library_shows_it(module, model, monkeypatch, height, width):
    pixels = noise(height, width)
    shown, _, _ = asked_of_the_network(model, pixels, monkeypatch)
    got = module(model, pixels)
    levels = base._lightness(gray_of(pixels), (height, width))
    np.testing.assert_allclose(decoded(got["levels"]), levels.numpy().ravel(), atol=2e-4)
    assert got["sizes"]["shown"] == list(shown.shape[:1:-1])
    np.testing.assert_allclose(decoded(got["shown"]), shown.numpy().ravel(), atol=2e-5)


@pytest.mark.parametrize("height, width", SIZES)
def test_the_module_colors_as_the_library_does(module, model, monkeypatch, height, width):
    pixels = noise(height, width)
    _, scores, want = asked_of_the_network(model, pixels, monkeypatch)
    got = module(model, pixels, scores.numpy(), temperature=model.temperature, rebalance=model.rebalance)
    got = decoded(got["rgba"], np.uint8).reshape(height, width, 4)
    assert (got[..., 3] == 255).all()
    assert difference(got[..., :3], want) < 0.75  # half of it is rounding to bytes


@pytest.mark.parametrize("temperature, rebalance", [(0, 1), (0, 2), (0.02, 0), (0.38, 2), (1, 0.5), (1, 1.9)])
def test_the_sliders_mean_what_the_librarys_knobs_mean(module, model, monkeypatch, temperature, rebalance):
    pixels = photograph("chelsea")
    _, scores, want = asked_of_the_network(
        model, pixels, monkeypatch, temperature=temperature, rebalance=rebalance
    )
    got = module(model, pixels, scores.numpy(), temperature=temperature, rebalance=rebalance)
    got = decoded(got["rgba"], np.uint8).reshape(*pixels.shape[:2], 4)
    assert difference(got[..., :3], want) < 0.75


@pytest.mark.parametrize("temperature", [0, 0.1, 0.38, 1])
def test_vivid_colors_are_brought_into_the_gamut_as_in_the_library(module, model, temperature):
    """A picture of every gray, and scores of colors far outside of what a screen shows at many of them."""
    pixels = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, 2).repeat(256, 1)
    scores = torch.randn(1, 313, 32, 32, generator=torch.Generator().manual_seed(0)) * 20
    gray = gray_of(pixels)
    ab = colorlib.color.annealed_mean(scores, temperature)
    slope, offset = base.guided_coefficients(base._lightness(gray, ab.shape[-2:]) / 100, ab[None])
    want = 255 * base._join(gray, offset, slope, 0, 256)[0, 0].permute(1, 2, 0).numpy()
    got = module(model, pixels, scores.numpy(), temperature=temperature, rebalance=1)
    got_ab = np.stack([decoded(each) for each in got["ab"]])
    np.testing.assert_allclose(got_ab, ab.numpy().reshape(2, -1), atol=2e-3)
    assert difference(decoded(got["rgba"], np.uint8).reshape(256, 256, 4)[..., :3], want) < 0.75


# The page --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIVE)
def test_five_photographs_come_out_as_from_the_library(colorful, site, model, name):
    pixels = photograph(name)
    got = colorful.color(as_file(pixels), site[1])
    worst = difference(got, wanted(model, pixels, site[1])) if got.shape == pixels.shape else None
    print(f"\n{name}: {pixels.shape[1]} x {pixels.shape[0]}, largest difference {worst} of 255")
    print(colorful.part("status").inner_text())
    if here(site[1]):
        assert worst < 2
    else:  # the gray preview of a picture above a million pixels is smaller than it
        assert worst is None or worst < 2


@pytest.mark.parametrize("height, width", [(1, 1), (3, 500), (501, 333), (64, 1200), (127, 129)])
def test_pictures_of_odd_sizes(colorful, site, model, height, width):
    pixels = noise(height, width, seed=1)
    assert difference(colorful.color(as_file(pixels), site[1]), wanted(model, pixels, site[1])) < 2
    assert colorful.part("view").is_visible()


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1"])
def test_other_kinds_of_pixels(colorful, site, model, mode):
    """What is transparent is on white, as in the library."""
    image = Image.fromarray(noise(150, 200))
    if "A" in mode:
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    file = io.BytesIO()
    image.convert(mode).save(file, "PNG")
    pixels = (colorlib.data.read(file.getvalue()).numpy() * 255).round().astype(np.uint8)
    pixels = pixels.transpose(1, 2, 0).repeat(3 // len(pixels), -1)
    limit = 4 if "A" in mode else 2  # browsers keep such pixels multiplied by their opacity, as bytes
    assert difference(colorful.color(file.getvalue(), site[1]), wanted(model, pixels, site[1])) < limit


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_stands_as_its_file_says(colorful, site, model, orientation):
    image = Image.fromarray(photograph("coffee")).resize((300, 200))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95, exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(file)))
    got = colorful.color(file.getvalue(), site[1], name="turned.jpg", mime="image/jpeg")
    assert difference(got, wanted(model, upright, site[1])) < 3  # decoders of JPEG differ by a step


def test_twelve_megapixels(browser, address, site):
    """Timed and weighed, in a page of its own."""
    page = Page(browser, address)
    arrived = page.bring(site[1])
    few = noise(300, 400, seed=2)
    pixels = np.asarray(Image.fromarray(few).resize((4000, 3000), Image.Resampling.BICUBIC))
    content = as_file(pixels, "JPEG", quality=90)
    before, start = renderers(browser), time.time()
    page.choose(content, name="large.jpg", mime="image/jpeg")
    said = page.says("4000 × 3000 pixels" if arrived else "This is what the model will see")
    took = time.time() - start
    print(f"\n12 megapixels: {said}")
    after = renderers(browser)
    print(f"{took:.1f} s after the choice, {after['seconds'] - before['seconds']:.1f} s of a core")
    print(f"memory: {before['bytes'] / 1e6:.0f} MB before, at the most {after['bytes'] / 1e6:.0f} MB")
    assert after["bytes"] < MEMORY_LIMIT
    if arrived:
        assert page.part("after").evaluate("c => [c.width, c.height]") == [4000, 3000]
        # Each band joins the next: no row differs from its neighbor more than in the gray picture.
        row = 2**20 // 4000
        strip = page.part("after").evaluate(
            "(c, y) => [...c.getContext('2d').getImageData(0, y, 4000, 2).data]", row - 1
        )
        rows = np.array(strip).reshape(2, 4000, 4)[..., :3]
        assert np.abs(rows[0] - rows[1]).max() < 40 and rows.std() > 5
        with page.tab.expect_download() as download:
            page.part("download").click()
        with Image.open(download.value.path()) as saved:
            assert saved.size == (4000, 3000) and saved.format == "JPEG"
    assert page.trouble == []
    page.context.close()


def renderers(browser):
    """The most memory that one of the pages has held so far, and the time of all, where Linux tells."""
    processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    peak, ticks = 0, 0
    for process in processes:
        folder = Path(f"/proc/{process['id']}")
        if process["type"] == "renderer" and folder.exists():
            lines = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
            peak = max(peak, 1024 * int(lines["VmHWM"].split()[0]))
            ticks += sum(map(int, (folder / "stat").read_text().rsplit(")", 1)[1].split()[11:13]))
    return {"bytes": peak, "seconds": ticks / os.sysconf("SC_CLK_TCK") if ticks else 0}


def test_from_the_click_to_the_colors(open_page, site, model):
    page = open_page()
    page.tab.wait_for_selector('[data-part="examples"] button:not([disabled])')
    page.tab.locator('[data-part="examples"] button').first.click()
    page.says("Fetch the colorizer to see it in color")
    assert page.part("before").is_visible() and page.asked == []
    start = time.time()
    page.fetch()
    if here(site[1]):
        said = page.says("colored in")
        print(f"\n{time.time() - start:.1f} s from the click to the colored picture ({said})")
        assert not page.part("fetch").is_visible()
    else:
        page.says("The colorizer did not come")


def test_a_file_that_is_no_picture_gets_a_sentence(open_page, site, model):
    page = open_page()
    arrived = page.bring(site[1])
    broken = as_file(noise(64, 64), "JPEG")[:300]
    for content, name, mime in [
        (b"no picture", "letter.txt", "text/plain"),
        (broken, "broken.jpg", "image/jpeg"),
        (b"", "empty.png", "image/png"),
    ]:
        page.choose(content, name=name, mime=mime)
        said = page.says("can't read that file as a picture")
        assert "still here" not in said and not page.part("view").is_visible()
        page.part("status").evaluate("e => { e.textContent = '' }")
    pixels = noise(90, 140)
    assert difference(page.color(as_file(pixels), site[1]), wanted(model, pixels, site[1])) < 2
    page.choose(b"no picture", name="letter.txt", mime="text/plain")
    assert "The last one is still here" in page.says("can't read that file as a picture")
    # The one that is shown goes on as if nothing had been.
    if arrived:
        page.part("temperature").fill("1")
        page.finished()
        got = page.pixels("after")
        assert difference(got, wanted(model, pixels, temperature=1)) < 2


def test_the_sliders_color_anew(colorful, site, model):
    pixels = photograph("chelsea")
    colorful.color(as_file(pixels), site[1])
    first = colorful.part("status").inner_text()
    for name, value in {"temperature": 0.8, "rebalance": 1.75}.items():
        colorful.part(name).fill(str(value))
        assert colorful.part(f"{name}-shown").inner_text() == f"{value:.2f}"
    if here(site[1]):
        said = colorful.finished()
        assert said.split(";")[1] == first.split(";")[1], "the network ran again"
        got = colorful.pixels("after")
        assert difference(got, wanted(model, pixels, temperature=0.8, rebalance=1.75)) < 2
    colorful.part("reset").click()
    assert colorful.part("temperature").input_value() == str(model.temperature)
    assert colorful.part("rebalance").input_value() == str(model.rebalance)
    if here(site[1]):
        colorful.finished()
        assert difference(colorful.pixels("after"), wanted(model, pixels)) < 2


def test_the_line_uncovers_gray_or_the_files_own_colors(colorful, site):
    pixels = photograph("coffee")
    colorful.color(as_file(pixels), site[1])
    gray = 255 * gray_of(pixels)[0].permute(1, 2, 0).numpy()
    assert difference(colorful.pixels("before"), gray.repeat(3, -1)) < 1
    colorful.part("own").check()
    colorful.tab.wait_for_selector('[data-part="before"][aria-label="The picture in its own colors"]')
    assert difference(colorful.pixels("before"), pixels.astype(float)) == 0
    colorful.part("own").uncheck()
    colorful.tab.wait_for_selector('[data-part="before"][aria-label="The picture in gray"]')
    colorful.color(as_file(pixels[..., :1].repeat(3, -1)), site[1])
    assert not colorful.part("own-label").is_visible(), "a gray picture has no colors to compare with"


def test_pictures_come_by_drop_and_paste(colorful, site, model):
    pixels = noise(80, 120, seed=3)
    for number, event in enumerate(["drop", "paste"]):
        pixels = noise(80, 120, seed=3 + number)
        colorful.part("status").evaluate("e => { e.textContent = '' }")
        colorful.tab.evaluate(
            """([kind, text]) => {
                const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0));
                const data = new DataTransfer();
                data.items.add(new File([bytes], "a picture.png", {type: "image/png"}));
                const options = {bubbles: true, cancelable: true, dataTransfer: data, clipboardData: data};
                const event = new (kind === "drop" ? DragEvent : ClipboardEvent)(kind, options);
                if (!document.body.dispatchEvent(event) !== (kind === "drop")) throw new Error("not taken");
            }""",
            [event, base64.b64encode(as_file(pixels)).decode()],
        )
        colorful.says("colored in" if here(site[1]) else "This is what the model will see")
        got = colorful.pixels("after" if here(site[1]) else "before")
        assert difference(got, wanted(model, pixels, site[1])) < 2


def test_no_network_is_needed_once_it_is_there(open_page, site, model):
    page = open_page()
    arrived = page.bring(site[1])
    page.context.set_offline(True)
    pixels = noise(140, 160, seed=5)
    assert difference(page.color(as_file(pixels), site[1]), wanted(model, pixels, site[1])) < 2
    page.tab.locator('[data-part="examples"] button').nth(2).click()
    page.says("640 ×" if arrived else "This is what the model will see")


def test_the_next_visit_fetches_nothing_again(open_page, site):
    page = open_page()
    arrived = page.bring(site[1])
    again = []
    page.tab.on("request", lambda request: again.append(request.url))
    page.tab.reload()
    page.bring(site[1])
    packed = [url for url in again if url.endswith((".gz", ".mjs", ".wasm")) and not url.startswith("blob:")]
    assert arrived == (packed == [])


def test_the_keyboard_is_enough(open_page, site, model):
    page = open_page()
    page.tab.wait_for_selector('[data-part="fetch"]:not([disabled])')
    focused = "document.activeElement.dataset.part ?? document.activeElement.title"

    def tab_to(wanted):
        for _ in range(40):
            page.tab.keyboard.press("Tab")
            if page.tab.evaluate(focused) == wanted:
                return
        pytest.fail(f"Tab does not lead to {wanted}")

    page.part("fetch").evaluate("e => e.focus()")
    page.tab.keyboard.press("Enter")
    page.says("The colorizer is here" if here(site[1]) else "The colorizer did not come")
    page.tab.evaluate("document.activeElement.blur()")
    page.part("file").evaluate("e => e.focus()")
    tab_to(site[1]["pictures"][1]["text"])
    page.tab.keyboard.press("Enter")
    page.says("colored in" if here(site[1]) else "This is what the model will see")
    tab_to("handle")
    page.tab.keyboard.press("Home")
    colored = page.part("stage").screenshot()
    page.tab.keyboard.press("End")
    assert page.part("handle").input_value() == "100"
    # As long as there are no colors, no line is shown either.
    assert (page.part("stage").screenshot() != colored) == here(site[1])
    tab_to("rebalance")
    page.tab.keyboard.press("ArrowRight")
    tab_to("temperature")
    page.tab.keyboard.press("ArrowLeft")
    moved = [float(page.part(name).input_value()) for name in ("rebalance", "temperature")]
    assert moved == pytest.approx([model.rebalance + 0.05, model.temperature - 0.02])
    if here(site[1]):
        page.finished()
        tab_to("download")
        with page.tab.expect_download() as download:
            page.tab.keyboard.press("Enter")
        assert download.value.suggested_filename == "chelsea-colored.jpg"
        with Image.open(download.value.path()) as saved:
            close = np.asarray(saved).astype(float) - page.pixels("after")
        assert np.abs(close).mean() < 3
    else:
        assert page.part("download").is_disabled()


def test_a_phone(open_page, site):
    page = open_page(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page.bring(site[1])
    page.color(as_file(photograph("chelsea")), site[1])
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.tab.locator(".try-camera").is_visible()
    page.part("stage").scroll_into_view_if_needed()
    box = page.part("stage").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 360 and box["width"] > 250
    page.tab.touchscreen.tap(box["x"] + 0.25 * box["width"], box["y"] + 0.5 * box["height"])
    assert abs(int(page.part("handle").input_value()) - 25) <= 1
    for name in ("handle", "rebalance", "temperature", "download", "reset"):
        part = page.part(name).bounding_box()
        assert part["x"] >= 0 and part["x"] + part["width"] <= 360, name


def test_the_mouse_drags_the_line(colorful, site):
    colorful.color(as_file(photograph("coffee")), site[1])
    colorful.part("stage").scroll_into_view_if_needed()
    box = colorful.part("stage").bounding_box()
    mouse, middle = colorful.tab.mouse, box["y"] + box["height"] / 2
    mouse.move(box["x"] + 0.5 * box["width"], middle)
    mouse.down()
    mouse.move(box["x"] + 0.8 * box["width"], middle, steps=4)
    mouse.up()
    mouse.move(box["x"] + 0.1 * box["width"], middle)
    assert abs(int(colorful.part("handle").input_value()) - 80) <= 1


# Where the runtime is elsewhere ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def elsewhere(site, serve, tmp_path_factory):
    """The page as it is built without npm: its address."""
    folder = tmp_path_factory.mktemp("elsewhere") / "html"
    shutil.copytree(site[0], folder)
    module, cache = script(), tmp_path_factory.mktemp("cache")
    module.from_npm = lambda: None
    files = dict(site[1], runtime=module.runtime(folder, cache))
    for packed in (folder / "_static" / "try").glob("ort*"):
        packed.unlink()
    (folder / "_static" / "try" / "files.json").write_text(json.dumps(files))
    return serve(folder)


def test_the_page_says_whence_the_runtime_comes(open_page, elsewhere):
    page = open_page(elsewhere)
    page.tab.wait_for_selector('[data-part="fetch"]:not([disabled])')
    assert "The runtime comes from cdn.jsdelivr.net" in page.part("source").inner_text()
    assert "Your picture goes to neither" in page.part("source").inner_text()
    assert page.asked == [], "something was fetched before the click"
    page.fetch()
    page.says("The colorizer did not come")
    assert sorted(set(page.asked)) == sorted(script().MIRROR + name for name in script().RUNTIME_FILES)
    assert page.part("fetch").is_enabled()


def test_another_file_on_the_mirror_is_not_run(open_page, elsewhere):
    page = open_page(elsewhere, mirror=lambda url: b"globalThis.fooled = true")
    page.fetch()
    assert "is another file" in page.says("The colorizer did not come")


def test_the_mirrors_runtime_colors_too(open_page, elsewhere, site, model):
    """With npm's files in the mirror's place, on the second try; without them it stays away."""

    def mirror(url):
        path = ROOT / "_build" / "try" / script().RUNTIME / url.rsplit("/", 1)[1]
        return path.read_bytes() if tries and path.exists() else None

    tries = []
    page = open_page(elsewhere, mirror=mirror)
    page.fetch()
    page.says("The colorizer did not come")
    tries.append(1)
    page.part("status").evaluate("e => { e.textContent = '' }")
    page.fetch()
    if not here(site[1]):
        page.says("The colorizer did not come")
        return
    page.says("The colorizer is here")
    pixels = noise(100, 150, seed=7)
    assert difference(page.color(as_file(pixels), site[1]), wanted(model, pixels)) < 2
    assert all(url.startswith(MIRROR) for url in page.asked)


def test_a_book_built_without_the_colorizer_says_so(open_page, site, serve, tmp_path):
    folder = tmp_path / "html"
    shutil.copytree(site[0], folder, ignore=shutil.ignore_patterns("files.json", "*.gz"))
    page = open_page(serve(folder))
    page.says("built without the colorizer")
    assert page.part("fetch").is_disabled()


def test_the_front_page_leads_here_first(site):
    front = (ROOT / "book" / "index.md").read_text(encoding="utf-8")
    first = front[front.index("\n# ") :].split("\n\n")[1]
    assert "](try_it.md)" in first
