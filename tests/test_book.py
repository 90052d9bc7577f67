"""The book as a reader meets it: built without a warning, opened in a real browser with no network."""

import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from functools import cache, partial
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
import torch
import yaml
from bs4 import BeautifulSoup
from filelock import FileLock

from colorlib import show

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
PAGE_LIMIT = 3_000_000  # bytes


def pages_of(entry):
    """The pages of a table of contents, in its order."""
    if isinstance(entry, list):
        return [page for item in entry for page in pages_of(item)]
    own = [entry[key] + ".html" for key in ("root", "file") if key in entry]
    return own + [page for key in ("parts", "chapters", "sections") for page in pages_of(entry.get(key, []))]


PAGES = pages_of(TOC)
CHAPTERS = [page for page in PAGES if page.startswith("chapters/")]


@pytest.fixture(scope="session")
def book(tmp_path_factory):
    """The folder of the built book; building it is the first test. Of several workers, one builds it."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return built()
    folder = tmp_path_factory.getbasetemp().parent  # of this run's workers
    with FileLock(folder / "book.lock"):
        if not (folder / "book is built").exists():
            built()
            (folder / "book is built").touch()
    return ROOT / "_build" / "html"


def built():
    done = subprocess.run(
        [sys.executable, ROOT / "book" / "build.py"], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    said = (done.stdout + done.stderr).splitlines()
    trouble = "\n".join(line for line in said if "WARNING:" in line or "ERROR" in line or "Error" in line)
    assert done.returncode == 0, f"the book does not build without warnings:\n{trouble}"
    return ROOT / "_build" / "html"


@pytest.fixture(scope="session")
def address(book):
    """The book on a web server of this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(book)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture
def open_page(browser, address):
    """A function that opens a page of the book with no network, and what went wrong there as a list."""
    contexts = []

    def opened(page, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        trouble = []

        def only_this_machine(route):
            if route.request.url.startswith((address, "data:", "blob:", "file:")):
                route.continue_()
            else:
                trouble.append(f"asked the network for {route.request.url}")
                route.abort()

        context.route("**/*", only_this_machine)
        tab = context.new_page()
        tab.on("console", lambda message: message.type == "error" and trouble.append(message.text))
        tab.on("pageerror", lambda error: trouble.append(str(error)))
        tab.on("requestfailed", lambda request: trouble.append(f"failed: {request.url}"))
        tab.goto(page if "://" in page else address + page, wait_until="load")
        return tab, trouble

    yield opened
    for context in contexts:
        context.close()


@cache
def soup_of(book, page):
    return BeautifulSoup((book / page).read_text(encoding="utf-8"), "html.parser")


@cache
def places_of(book, page):
    return {element["id"] for element in soup_of(book, page).find_all(id=True)}


def test_every_page_is_there(book):
    for page in PAGES:
        assert (book / page).is_file()
    assert "book/index.html" in (book / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_page_opens_without_errors_and_without_a_network(open_page, page):
    tab, trouble = open_page(page)
    tab.wait_for_timeout(300)
    assert tab.locator("h1").first.inner_text()
    assert trouble == []


# What a slider shows, asked for in one go: some have hundreds of positions.
LOOK = """async figure => {
    const images = [...figure.querySelectorAll("img")].filter(image => image.checkVisibility());
    await images[0].decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [images[0].naturalWidth, images[0].naturalHeight];
    canvas.getContext("2d").drawImage(images[0], 0, 0);
    return {
        count: images.length, width: canvas.width, alt: images[0].alt, pixels: canvas.toDataURL(),
        label: figure.querySelector("output").innerText,
        spoken: figure.querySelector("input[type=range]").getAttribute("aria-valuetext"),
    };
}"""


@pytest.mark.parametrize("page", ["book/index.html", *CHAPTERS])
def test_each_slider_moves_with_the_keyboard(open_page, page):
    tab, trouble = open_page(page)
    sliders = tab.locator("figure.colorlib-frames")
    assert sliders.count() >= 1
    for i in range(sliders.count()):
        figure = sliders.nth(i)
        knob, label = figure.locator("input[type=range]"), figure.locator("output")
        figure.scroll_into_view_if_needed()
        knob.focus()
        tab.keyboard.press("Home")
        shown = figure.locator("img:visible")
        seen, painted = {}, [shown.screenshot()]
        for _ in range(int(knob.get_attribute("max")) + 1):
            look = figure.evaluate(LOOK)
            assert look["count"] == 1 and look["width"] > 0
            assert look["spoken"] == look["label"] and look["label"] in look["alt"]
            seen[look["label"]] = look["pixels"]
            tab.keyboard.press("ArrowRight")
        painted.append(shown.screenshot())
        assert len(seen) == int(knob.get_attribute("max")) + 1, "labels repeat, or the slider stopped"
        assert len(set(seen.values())) == len(seen), "two positions of the slider show the same picture"
        assert painted[0] != painted[1]
        tab.keyboard.press("Home")
        assert label.inner_text() == list(seen)[0]
        tab.keyboard.press("End")
        assert label.inner_text() == list(seen)[-1]
    assert trouble == []


def test_slider_works_in_a_sandboxed_frame(browser):
    """Colab and others show a cell's output in a frame that may run scripts and nothing else."""
    slider = show.frames(
        torch.stack([torch.full((3, 8, 8), value) for value in (0.0, 0.5, 1.0)]), ["a", "b", "c"], "gray"
    )
    tab = browser.new_page()
    tab.set_content("<iframe sandbox='allow-scripts'></iframe>")
    tab.locator("iframe").evaluate("(frame, page) => { frame.srcdoc = page }", slider._repr_html_())
    frame = tab.frame_locator("iframe")
    frame.locator("input").press("ArrowRight")
    assert frame.locator("output").inner_text() == "b"
    assert frame.locator("img:visible").get_attribute("alt") == "gray: b"
    tab.close()


def test_boxes_choose_the_image_in_a_sandboxed_frame(browser):
    """Every set of boxes, from the keyboard, shows the one image that is made for it."""
    boxes = show.choices(
        torch.stack([torch.full((3, 8, 8), n / 7) for n in range(8)]), ["a", "b", "c"], "in color", start=2
    )
    tab = browser.new_page()
    tab.set_content("<iframe sandbox='allow-scripts'></iframe>")
    tab.locator("iframe").evaluate("(frame, page) => { frame.srcdoc = page }", boxes._repr_html_())
    frame = tab.frame_locator("iframe")
    shown, ticks, ticked = frame.locator("img:visible"), frame.locator("input"), {"b"}
    assert shown.get_attribute("alt") == "in color: b"
    for name in "abacabab":  # the first seven go through all eight sets
        ticks.nth("abc".index(name)).press("Space")
        ticked ^= {name}
        wanted = ", ".join(sorted(ticked)) or "none"
        assert shown.count() == 1 and shown.get_attribute("alt") == f"in color: {wanted}"
        assert frame.locator("output").inner_text() == wanted
    tab.close()


def test_jupyterlab_leaves_the_arrow_keys_to_the_slider():
    """Its shortcuts take them in command mode, unless the element that has the focus itself says not to."""
    slider = BeautifulSoup(
        show.frames(torch.rand(2, 3, 8, 8), ["a", "b"], "noise")._repr_html_(), "html.parser"
    )
    assert slider.find("input")["data-lm-suppress-shortcuts"] == "true"


def test_slider_works_from_the_disk_too(open_page, book):
    tab, trouble = open_page((book / "book/index.html").as_uri())
    figure = tab.locator("figure.colorlib-frames").first
    before = figure.screenshot()
    figure.locator("input").focus()
    tab.keyboard.press("ArrowRight")
    assert figure.screenshot() != before
    assert [problem for problem in trouble if "colorlib" in problem] == []


@pytest.mark.parametrize("page", PAGES)
def test_page_fits_a_phone(open_page, page):
    tab, _ = open_page(page, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    width = tab.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert width[0] <= 360, f"the page is {width[0]} wide on a screen of 360"
    for image in tab.locator("figure.colorlib-frames img:visible, figure.colorlib-grid img").all():
        box = image.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 360


def luminance(color):
    red, green, blue = (int(part) / 255 for part in re.findall(r"\d+", color)[:3])
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_images_keep_their_colors_and_their_size(open_page, scheme):
    """The theme would dim and frame them in dark mode."""
    tab, _ = open_page("book/index.html", color_scheme=scheme)
    for image in tab.locator("figure.colorlib-frames img:visible, figure.colorlib-grid img").all():
        look = "e => { const s = getComputedStyle(e); return [s.filter, s.padding, s.opacity] }"
        assert image.evaluate(look) == ["none", "0px", "1"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", ["book/index.html", "book/claims.html", *CHAPTERS])
def test_text_stands_out_in_light_and_dark(open_page, page, scheme):
    tab, _ = open_page(page, color_scheme=scheme)
    background = luminance(tab.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (background < 0.1) == (scheme == "dark")
    for selector in ("article p", "figure.colorlib-frames output", ".colorlib-claim td", "article table td"):
        for element in tab.locator(selector).all()[:3]:
            text = luminance(element.evaluate("e => getComputedStyle(e).color"))
            lighter, darker = max(text, background), min(text, background)
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, f"{selector} is too faint"


def test_formulas_are_set(open_page):
    tab, trouble = open_page("chapters/01_color_spaces.html")
    tab.wait_for_selector("mjx-container svg, mjx-container mjx-math")
    assert trouble == []


@pytest.mark.parametrize("page", PAGES)
def test_page_is_small(book, page):
    sources = {image["src"] for image in soup_of(book, page).find_all("img") if image.get("src")}
    local = {(book / page).parent / unquote(src) for src in sources if not src.startswith(("data:", "http"))}
    size = sum(path.stat().st_size for path in [book / page, *local])
    assert size < PAGE_LIMIT, f"{page} weighs {size / 1e6:.1f} MB"


@pytest.mark.parametrize("page", PAGES)
def test_every_picture_has_a_text(book, page):
    for image in soup_of(book, page).find_all("img"):
        assert image.get("alt", "").strip(), str(image)[:200]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_inside_the_book_leads_somewhere(book, page):
    for link in soup_of(book, page).select("article a[href], nav a[href]"):
        target = urlsplit(urljoin(page, link["href"]))
        if target.scheme or target.netloc:
            continue
        path = unquote(target.path)
        assert (book / path).exists(), f"{page} links to {link['href']}, which is not there"
        if target.fragment and path.endswith(".html"):
            assert unquote(target.fragment) in places_of(book, path), (
                f"{page} links to {link['href']}, but no such place is on that page"
            )


def test_the_ledger_says_what_the_chapters_measured(book):
    rows = soup_of(book, "book/claims.html").select("table")[0].select("tbody tr")
    assert rows
    for row in rows:
        identifier, verdict, claimed, ours, cell = [part.get_text() for part in row.find_all("td")]
        page = urljoin("book/claims.html", row.find("a")["href"]).split("#")[0]
        box = soup_of(book, page).find(id=f"claim-{identifier}")
        stated = {line.th.get_text(): line.td.get_text() for line in box.find_all("tr")}
        assert ours == stated["Measured here"] and re.search(r"\d", ours)
        asked = "Question" in stated
        assert verdict == stated["Answer" if asked else "Verdict"]
        assert claimed == f"{stated['Question' if asked else 'Claim']} ({stated['Source']})"


def test_a_build_that_warned_warns_again(tmp_path):
    """Sphinx forgets the warnings of a page once it is read; the second build must not pass in silence."""
    for name in ("book", "colorlib"):
        (tmp_path / name).mkdir()
    shutil.copy(ROOT / "book" / "build.py", tmp_path / "book")
    (tmp_path / "_config.yml").write_text("title: t\nauthor: a\nonly_build_toc_files: true\n")
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: page\n")
    (tmp_path / "page.md").write_text("# Page\n\n[no such place](nowhere.md)\n")
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, tmp_path / "book" / "build.py"], capture_output=True, text=True, cwd=tmp_path
        )
        assert done.returncode != 0 and "nowhere.md" in done.stdout + done.stderr
    (tmp_path / "page.md").write_text("# Page\n")
    assert (
        subprocess.run([sys.executable, tmp_path / "book" / "build.py"], capture_output=True).returncode == 0
    )
