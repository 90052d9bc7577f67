"""Pictures in a row: read, colored and saved in several threads at once, and reported in their order.

Decoding, torch's work and encoding each let other threads run, so a picture is decoded while another one is
colored. Each thread works on one core: more threads inside torch would only wait for one another.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from colorlib import _messages
from colorlib.classic import strokes_of
from colorlib.data import pairs, read
from colorlib.data.margin import kept, levels, rows
from colorlib.data.metadata import Metadata, read_metadata
from colorlib.data.pictures import gray_tensor, open_picture
from colorlib.data.saving import Job, save_image
from colorlib.data.srgb import to_srgb
from colorlib.models import Colorizer

TOGETHER = 4  # so many pictures of one size are colored in one batch, where nothing is left to chance
PIXELS = 2**25  # so many pixels are on their way at once; a larger picture alone, with all threads in torch
HALVED = 2**24  # a picture of so many pixels keeps its gray in half precision: enough for 8 bits
SAMPLED_AT_ONCE = 2**25  # so many pixels are colored at once where a picture gets several colorings


class Stop(Exception):
    """Raised in a thread that has to end because the user has stopped the work."""


@dataclass
class Picture:
    """A picture on its way: what is to be written of it, what is known of it, what will be said of it."""

    job: Job
    samples: list[int]  # those that are wanted
    files: set[Path]  # those that are to be written
    about: Metadata | None = None
    size: tuple[int, int] = (0, 0)  # width and height as stored
    gray: Tensor | None = None  # (1, H, W)
    levels: Image.Image | None = None  # the gray in 8 bits
    keep: Image.Image | None = None  # how much color a margin keeps
    lines: list[tuple[Any, Any]] = field(default_factory=list)  # text, and whether it goes to stderr
    lost: set[str] = field(default_factory=set)  # of the metadata
    thumbs: list[tuple] = field(default_factory=list)  # small ones before and after, and a name
    failed: bool = False
    done: bool = False

    def free(self) -> None:
        self.gray = self.levels = self.keep = self.about = None


@dataclass
class Work:
    """How pictures are colored: the model with its knobs, and what is made of each picture."""

    colorizer: Colorizer
    seed: int
    knobs: dict
    masks: dict[str, Path]
    paper: bool  # whether a margin is looked for
    made_by: str
    sheet: bool  # whether small copies are kept for a contact sheet
    chance: bool  # whether samples differ with the knobs as they are
    strokes: Path | None = None  # the picture with strokes on it, or a folder with one for each
    threads: int = field(default_factory=torch.get_num_threads)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, pictures: Iterable[Picture], report: Callable[[Picture], None]) -> None:
        """Color pictures, and report each as it is done, in their order. What fails is noted in it."""
        pictures = list(pictures)
        workers = self.several(len(pictures))
        pool = ThreadPoolExecutor(workers) if workers > 1 else _Here()
        unreported = deque(pictures)

        def flush():
            while unreported and unreported[0].done:
                report(unreported.popleft())

        try:
            self._flow(pool, workers, pictures, flush)
        except BaseException:
            self.stop.set()
            pool.shutdown(cancel_futures=True)
            for picture in unreported:  # what is whole is named
                if picture.lines:
                    report(picture)
            raise
        finally:
            torch.set_num_threads(self.threads)
        pool.shutdown()

    def several(self, count: int) -> int:
        """How many threads color so many pictures."""
        # What draws shows its progress and takes long; a single picture has all of torch's threads.
        return self.threads if count > 1 and not self.chance else 1

    def _flow(self, pool, workers: int, pictures: list[Picture], flush: Callable[[], None]) -> None:
        coming, read_ahead, colored = deque(pictures), deque(), deque()
        together = 1 if self.chance or self.masks or self.strokes else TOGETHER
        most = together * (workers + 1) if workers > 1 else together
        on_the_way = pixels = 0
        while coming or read_ahead or colored:
            while coming and on_the_way < most:
                picture = coming[0]
                if not picture.done and not picture.about:
                    self._guarded(picture, self._look)
                if picture.done:  # there already, or no picture
                    coming.popleft()
                    continue
                count = picture.size[0] * picture.size[1]
                if pixels and pixels + count > PIXELS:
                    break
                on_the_way, pixels = on_the_way + 1, pixels + count
                read_ahead.append((coming.popleft(), pool.submit(self._guarded, picture, self._read)))
            flush()
            group: list[Picture] = []
            while read_ahead and len(group) < together:
                picture, reading = read_ahead[0]
                if group and picture.size != group[0].size:
                    break
                reading.result()
                group.append(read_ahead.popleft()[0])
            if group:
                threads = 1 if workers > 1 and pixels < PIXELS else self.threads
                fit = [picture for picture in group if not picture.done]
                colored.append((group, pool.submit(self._color, fit, threads)))
            if colored and (not read_ahead or len(colored) > workers):
                group, coloring = colored.popleft()
                coloring.result()
                on_the_way -= len(group)
                pixels -= sum(picture.size[0] * picture.size[1] for picture in group)
                flush()
        flush()

    def _guarded(self, picture: Picture, step: Callable[[Picture], None]) -> bool:
        """Take a step unless all have to stop; an error is noted as the picture's, and the others go on."""
        if self.stop.is_set():
            return False
        with _messages.held() as said:
            try:
                step(picture)
            except Stop:
                return False
            except Exception as error:
                picture.lines.append((f"colorlib: {error}", True))
                picture.failed = picture.done = True
                picture.free()
        picture.lines[:0] = [(f"colorlib: {message}", True) for message in said]
        return True

    def _look(self, picture: Picture) -> None:
        with open_picture(picture.job.source, page=picture.job.page) as image:
            picture.size, picture.about = image.size, read_metadata(image)
        picture.lost.update(picture.about.broken)

    def _read(self, picture: Picture) -> None:
        with open_picture(picture.job.source, page=picture.job.page) as image:
            large = image.width * image.height >= HALVED
            image = to_srgb(image, copy=False)
            picture.gray = gray_tensor(image, torch.float16 if large else torch.float32)
        if self.paper or self.sheet or picture.job.pairs:
            picture.levels = levels(picture.gray)
        if self.paper:
            picture.keep = kept(picture.levels)
        if not self.sheet and not picture.job.pairs:
            picture.levels = None

    def _color(self, group: list[Picture], threads: int) -> None:
        """Color pictures of one size and save them; where it can't be done together, one by one."""
        torch.set_num_threads(threads)
        images = None
        if len(group) > 1:
            try:
                images = self._together(group)
            except Exception:  # one by one, it is said of which picture it is true
                for picture in group:
                    self._color([picture], threads)
                return
        for place, picture in enumerate(group):
            if self._guarded(picture, lambda p, k=place: self._finish(p, images and images[k])):
                if picture.lost and not picture.failed:
                    about = f"{picture.job.source} is colored without {', '.join(sorted(picture.lost))}"
                    picture.lines.append((f"colorlib: {about}", True))
                picture.done = True
                picture.free()

    def _together(self, group: list[Picture]) -> list[Image.Image]:
        # Some may be turned as they are read: then this raises.
        gray = torch.stack([picture.gray for picture in group])
        return self._images(gray, [picture.keep for picture in group], [0], 1, self.seed, self.knobs)[0]

    def _finish(self, picture: Picture, image: Image.Image | None) -> None:
        """Color and save a picture's samples, or save its image where that is there."""
        if image is not None:
            return self._save(picture, 0, image)
        job, gray, knobs = picture.job, picture.gray, dict(self.knobs)
        for name, path in self.masks.items():
            if path.is_dir():
                path = _beside(path, job.source)
            knobs[name] = read(path, gray=True)[None].clamp(0, 1)  # rounding may carry it past
            knobs[name] = knobs[name].to(next(self.colorizer.parameters()).device)
        if self.strokes is not None:
            knobs["strokes"] = strokes_on(job.source, self.strokes, job.page)
        at_once = max(1, min(64, SAMPLED_AT_ONCE // gray.numel()))
        try:
            for start in range(0, len(job.targets), at_once):
                numbers = range(start, min(start + at_once, len(job.targets)))
                wanted = [number - start for number in numbers if number in picture.samples]
                if not wanted:
                    continue
                # Each group has a seed of its own, far from those that people choose.
                seed = (self.seed + start * 0x9E3779B97F4A7C15) % 2**63
                with _messages.bar(job.source.name) as progress:
                    if "progress" in self.colorizer.knobs():
                        knobs["progress"] = progress
                    images = self._images(gray[None], [picture.keep], wanted, len(numbers), seed, knobs)
                for number, (image,) in zip(wanted, images, strict=True):
                    self._save(picture, start + number, image)
        except (OSError, Stop):
            raise  # the former names the file
        except Exception as error:
            memory = isinstance(error, MemoryError) or "memory" in str(error)
            size = f"{gray.shape[-1]} x {gray.shape[-2]} pixels"
            reason = f"there is not enough memory for {size}" if memory else error
            raise RuntimeError(f"{job.source} can't be colored: {reason}") from None

    def _images(self, gray: Tensor, keeps: list, wanted: list[int], samples: int, seed: int, knobs: dict):
        """The wanted ones of some samples of gray pictures, (B, 1, H, W): a list of B images for each."""
        height, width = gray.shape[-2:]
        images = [[Image.new("RGB", (width, height)) for _ in keeps] for _ in wanted]
        device, top = next(self.colorizer.parameters()).device, 0
        for strip in self.colorizer.strips(gray.to(device), samples, seed, **knobs):
            if self.stop.is_set():
                raise Stop
            bottom, strip = top + strip.shape[-2], strip.cpu()
            for place, keep in enumerate(keeps):
                share = None if keep is None else rows(keep, (height, width), top, bottom)
                for number, row in zip(wanted, images, strict=True):
                    rgb = strip[number, place]
                    if share is not None:
                        rgb = torch.lerp(gray[place, :, top:bottom].to(rgb), rgb, share)
                    row[place].paste(as_image(rgb), (0, top))
            top = bottom
        return images

    def _save(self, picture: Picture, number: int, image: Image.Image) -> None:
        if self.stop.is_set():
            raise Stop
        job, target = picture.job, picture.job.targets[number]
        if target in picture.files:
            picture.lost.update(save_image(image, target, picture.about, self.made_by))
            picture.lines.append((target, False))
        if job.pairs and job.pairs[number] in picture.files:
            save_image(pairs.side_by_side(picture.levels, image), job.pairs[number], None, self.made_by)
            picture.lines.append((job.pairs[number], False))
        if self.sheet:
            small = pairs.thumbnail(picture.levels), pairs.thumbnail(image)
            picture.thumbs.append((*small, _messages.plain(target.name)))


class _Here:
    """In the place of a pool of threads: does what is submitted at once, in this thread."""

    def submit(self, function, *arguments) -> Future:
        future: Future = Future()
        future.set_result(function(*arguments))
        return future

    def shutdown(self, cancel_futures: bool = False) -> None:
        pass


def strokes_on(source, path: Path, page: int = 1) -> tuple[Tensor, Tensor]:
    """Mask and ab of the strokes that were painted on a picture, for `Colorizer.strips`."""
    if path.is_dir():
        path = _beside(path, source)
    photograph = read(source, page=page)
    with open_picture(path) as image:
        painted = torch.from_numpy(np.array(to_srgb(image))).permute(2, 0, 1).float().div_(255)
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            alpha = torch.from_numpy(np.array(image.convert("RGBA").getchannel("A")))[None].float().div_(255)
            # It was put on white: take the white out of what is half transparent.
            painted = torch.cat([1 - (1 - painted) / alpha.clamp(min=1 / 255), alpha]).clamp(0, 1)
    if painted.shape[1:] != photograph.shape[1:]:
        sizes = (f"{x.shape[2]} x {x.shape[1]}" for x in (photograph, painted))
        raise ValueError("{} must have {}'s size, {} pixels; it has {}".format(path, source, *sizes))
    mask, ab = strokes_of(photograph, painted)
    if not mask.any():
        raise ValueError(f"{path} has no strokes: it must be {source} with strokes of color on it")
    return mask[None], ab[None]


def as_image(rgb: Tensor) -> Image.Image:
    """An image of sRGB in [0, 1], (3, H, W)."""
    planes = (rgb * 255).add_(0.5).to(torch.uint8)
    return Image.merge("RGB", [Image.fromarray(plane.numpy()) for plane in planes])


def _beside(folder: Path, picture) -> Path:
    """The file of a folder that has a picture's name, whatever its ending."""
    found = sorted(path for path in folder.iterdir() if path.stem == Path(str(picture)).stem)
    if len(found) != 1:
        raise ValueError(f"{folder} must have one file for {picture}; it has {len(found)}")
    return found[0]


def draws(colorizer: Colorizer, seed: int, knobs: dict) -> bool:
    """Whether chance is at work with these knobs. What is wrong with them is raised here, before any work."""
    colorizer.colorize(torch.full((1, 1, 16, 16), 0.5), seed=seed, **knobs)
    generator = torch.Generator(next(colorizer.parameters()).device).manual_seed(seed)
    before = generator.get_state()
    own = {name: value for name, value in knobs.items() if name in colorizer.knobs()}
    with torch.no_grad():
        colorizer.chroma(torch.full((1, 1, 16, 16), 50.0, device=generator.device), 1, generator, **own)
    return not torch.equal(before, generator.get_state())


def picture(job: Job, skip: bool) -> Picture:
    """A picture to color, with the files that are to be written; with `skip`, those that aren't there."""
    files = {path for path in (*job.targets, *job.pairs) if not (skip and os.path.isfile(path))}
    each = zip(job.targets, job.pairs or job.targets, strict=True)
    samples = [number for number, paths in enumerate(each) if not files.isdisjoint(paths)]
    return Picture(job, samples, files, done=not files)


def save_sheet(pictures: Iterable[Picture], path: Path, made_by: str) -> bool:
    """Save a contact sheet of the pictures that were colored, now or before; False where there are none."""
    thumbs = []
    for each in pictures:
        if not each.thumbs and not each.failed:
            with suppress(ValueError, OSError, MemoryError):  # the sheet is not worth a failure
                before = pairs.thumbnail(_upright(each.job.source, each.job.page).convert("L"))
                for target in each.job.targets:
                    after = pairs.thumbnail(_upright(target))
                    each.thumbs.append((before, after, _messages.plain(target.name)))
        thumbs += each.thumbs
    if thumbs:
        save_image(pairs.contact_sheet(thumbs), path, None, made_by)
    return bool(thumbs)


def _upright(path: Path, page: int = 1) -> Image.Image:
    with open_picture(path, page=page) as image:
        return to_srgb(image)


def show(picture: Picture) -> None:
    """Print what is to be said of a picture."""
    for text, aside in picture.lines:
        _messages.say(text, sys.stderr if aside else None)
