"""What the page try_it needs beside its text: the network, the runtime that runs it, four photographs.

All of it is made from what is here and never committed. The network is that of the shipped weights
``photographs``, for ONNX Runtime Web, which runs it in the reader's browser. The runtime comes out of its npm
package. Where npm is missing or finds nothing, the page will fetch it from jsDelivr, a public mirror of npm,
and says so to the reader; its checksum is the same.
"""

import base64
import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

# The one place that names the runtime: a release of an npm package, its files and their checksums.
RUNTIME = "onnxruntime-web@1.30.0"
RUNTIME_FILES = {  # name: SHA-256, size in bytes, size on the way, as jsDelivr packs it
    "ort.wasm.bundle.min.mjs": (
        "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
        73_054,
        24_608,
    ),
    "ort-wasm-simd-threaded.wasm": (
        "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
        14_239_897,
        3_659_955,
    ),
}
MIRROR = f"https://cdn.jsdelivr.net/npm/{RUNTIME}/dist/"

# Of scikit-image's photographs, some without a person or in the public domain: see colorlib.data.photos.
PICTURES = {
    "coffee": "A cup of coffee on a wooden table (Rachel Michetti, CC0)",
    "chelsea": "A ginger cat, looking at you (Stefan van der Walt, CC0)",
    "rocket": "A rocket starting in the evening (SpaceX, public domain)",
    "astronaut": "The astronaut Eileen Collins (NASA, public domain)",
}


def write(folder: Path, cache: Path) -> dict:
    """Write the page's files into a folder of the built book, and `files.json`, which lists them.

    What takes long is kept in `cache` and made anew when the weights, this script, torch or the exporter have
    changed. Gives what `files.json` holds.
    """
    import colorlib
    from colorlib.color import ab_bins

    folder.mkdir(parents=True, exist_ok=True)
    cache.mkdir(parents=True, exist_ok=True)
    model = colorlib.load("photographs")
    network = cache / f"photographs-{fingerprint()}.onnx"
    if not network.exists():
        for old in cache.glob("photographs-*.onnx"):
            old.unlink()
        unfinished = network.with_suffix(".part")
        unfinished.write_bytes(export(model))
        unfinished.rename(network)
    listed = {
        "name": RUNTIME,
        "runtime": runtime(folder, cache),
        "model": pack(network.read_bytes(), "photographs.onnx", folder),
        "pictures": pictures(folder),
        "imageSize": model.image_size,
        "temperature": model.temperature,
        "rebalance": model.rebalance,
        "bins": ab_bins().tolist(),
        "logWeights": model.weights.log().tolist(),
    }
    (folder / "files.json").write_text(json.dumps(listed), encoding="utf-8")
    return listed


def fingerprint() -> str:
    """A hash of all that the exported network depends on."""
    import colorlib

    package = Path(colorlib.__file__).parent
    files = [package / "weights" / "photographs.safetensors", package / "models" / "photo.py", Path(__file__)]
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    for name in ("torch", "onnx", "onnxscript"):
        digest.update(f"{name} {version(name)}".encode())
    return digest.hexdigest()[:16]


# The network -----------------------------------------------------------------------------------------------


def export(model) -> bytes:
    """Give a :class:`colorlib.models.PretrainedUNet` as an ONNX model.

    Its input ``gray`` holds the picture in [0, 1] as (rows / 32, 32, columns / 32, 32): that is the picture
    row by row, and both sides are multiples of 32. Its output ``scores`` is (1, 313, rows / 4, columns / 4),
    the logarithm of twice the mean of the probabilities for the picture and for the mirrored one.
    """
    import torch

    network = _both(model).eval()
    sides = {0: torch.export.Dim("rows", min=1, max=256), 2: torch.export.Dim("columns", min=1, max=256)}
    program = torch.onnx.export(
        network,
        (torch.zeros(4, 32, 6, 32),),
        dynamo=True,
        external_data=False,
        dynamic_shapes=(sides,),
        input_names=["gray"],
        output_names=["scores"],
        optimize=False,  # that would multiply the weights by the batch norms: no longer half precision
        verbose=False,
    )
    return halved(program.model_proto).SerializeToString()


def _both(model):
    """The part of a colorizer's work that a browser leaves to the runtime."""
    import torch

    class Both(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, cells):
            rows, _, columns, _ = cells.shape
            gray = cells.reshape(1, 1, 32 * rows, 32 * columns)
            straight, mirrored = self.model._scores(torch.cat([gray, gray.flip(-1)])).log_softmax(1).split(1)
            mirrored = mirrored.flip(-1)
            # logaddexp, which ONNX does not have.
            largest = torch.maximum(straight, mirrored)
            return largest + torch.exp(-(straight - mirrored).abs()).log1p()

    return Both()


def halved(model):
    """Store the weights that half precision holds exactly in it, to be widened as the model is loaded.

    The network computes in single precision all the same. Statistics of batch norms go beyond 65,504, the
    largest number of half precision, and stay as they are. What the exporter notes about the source is
    dropped: nobody needs it to run the model, and it names folders of the machine that built it.
    """
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < 64:
            continue
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    del model.graph.value_info[:]
    graph = model.graph
    for part in [model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output]:
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model


# The runtime and the photographs ---------------------------------------------------------------------------


def runtime(folder: Path, cache: Path) -> list[dict]:
    """List the runtime's files: packed beside the page where npm has them, else on the mirror."""
    kept = cache / RUNTIME
    if not all((kept / name).exists() for name in RUNTIME_FILES) and (found := from_npm()):
        kept.mkdir(exist_ok=True)
        for name, content in found.items():
            (kept / name).write_bytes(content)
    listed = []
    for name, (checksum, size, packed) in RUNTIME_FILES.items():
        if (kept / name).exists():
            listed.append(pack((kept / name).read_bytes(), name, folder))
        else:
            listed.append(
                {
                    "url": MIRROR + name,
                    "packed": False,
                    "bytes": size,
                    "download": packed,
                    "integrity": base64.b64encode(bytes.fromhex(checksum)).decode(),
                }
            )
    return listed


def from_npm() -> dict[str, bytes] | None:
    """Give the runtime's files out of its npm package, or None: where npm is missing, or has no network."""
    npm = shutil.which("npm")
    if npm is None:
        print(f"npm is missing, so the page try_it will fetch {RUNTIME} from {MIRROR}")
        return None
    with tempfile.TemporaryDirectory() as place:
        command = [npm, "pack", RUNTIME, "--silent", "--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
        try:
            done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=180)
        except (OSError, subprocess.TimeoutExpired) as error:
            print(f"npm did not fetch {RUNTIME} ({error}), so the page try_it will fetch it from {MIRROR}")
            return None
        archives = list(Path(place).glob("*.tgz"))
        if done.returncode or len(archives) != 1:
            print(f"npm did not fetch {RUNTIME}, so the page try_it will fetch it from {MIRROR}")
            return None
        found = {}
        with tarfile.open(archives[0]) as archive:
            for name, (checksum, _, _) in RUNTIME_FILES.items():
                content = archive.extractfile(f"package/dist/{name}").read()
                if hashlib.sha256(content).hexdigest() != checksum:
                    raise ValueError(f"{name} of {RUNTIME} has another checksum than the one in {__file__}")
                found[name] = content
    return found


def pack(content: bytes, name: str, folder: Path) -> dict:
    """Write a file, packed: so a reader waits for as few bytes as can be, whatever the server does."""
    packed = gzip.compress(content, 9, mtime=0)
    (folder / f"{name}.gz").write_bytes(packed)
    return {
        "url": f"{name}.gz",
        "packed": True,
        "bytes": len(packed),
        "download": len(packed),
        "integrity": base64.b64encode(hashlib.sha256(content).digest()).decode(),
    }


def pictures(folder: Path, longest: int = 640) -> list[dict]:
    """Write the photographs that come along, as small JPEG files."""
    import numpy as np
    from PIL import Image

    from colorlib.data import photos

    listed = []
    for name, text in PICTURES.items():
        (photo,) = photos(name, max_side=longest).values()
        image = Image.fromarray(np.round(photo.permute(1, 2, 0).numpy() * 255).astype(np.uint8))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=85, optimize=True)
        (folder / f"{name}.jpg").write_bytes(file.getvalue())
        listed.append({"url": f"{name}.jpg", "name": name, "text": text})
    return listed
