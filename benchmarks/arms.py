"""One way of bringing an ortho through a network, as a process that `predict.py` tells when to run.

Usage: python benchmarks/arms.py ARM ORTHO MODEL

Runs in any interpreter that has torch, numpy, pydantic, safetensors and what the arm needs; geoseg itself is taken from
this checkout, because the network's module comes from there. Loads everything and warms up, prints a line of JSON,
and then, for every line on stdin, does the work once and prints a line of JSON. All arms but geoseg's run the eager
module in 32 bits, at the tile size, overlap and batch that are their defaults (torchgeo has none: 512 with a stride of
448 and a batch of 4).
"""

from __future__ import annotations

import importlib.metadata
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from crop import cropped
from torch import Tensor, nn

CLASSES = 3
Work = Callable[[str, Path], "dict[str, Any] | None"]
"""Takes the ortho and where the class raster goes; gives more facts, or ``seconds`` of its own."""


class Counted(nn.Module):
    """The network with its normalisation: images in 0..1 to class scores. Counts pixels and seconds."""

    def __init__(self, model: str) -> None:
        super().__init__()
        from geoseg.models.storage import load_module

        card, self.module = load_module(model)
        self.register_buffer("mean", torch.tensor(card.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(card.std).view(1, -1, 1, 1))
        self.pixels, self.seconds = 0, 0.0

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) float to (N, K, H, W)."""
        started = time.perf_counter()
        found = self.module((images - self.mean) / self.std)
        scores: Tensor = found if isinstance(found, Tensor) else found[0]
        self.seconds += time.perf_counter() - started
        self.pixels += images.shape[0] * images.shape[2] * images.shape[3]
        return scores


def some_windows(segmenter: Any, ortho: str) -> list[np.ndarray]:
    """Images of geoseg's windows, (1, C, H, W) each: the first four, and one of every other shape."""
    from geoseg.ortho import Ortho
    from geoseg.segment.predict import SegmentConfig, tiling_for
    from geoseg.windows import windows

    source = Ortho.open(ortho, band_names=segmenter.card.bands)
    grid = source.working_grid(segmenter.card.gsd)
    tiling = tiling_for(segmenter.card, SegmentConfig())
    shape = int(grid.shape[0]), int(grid.shape[1])
    cut = list(windows(shape, tiling.write_px, tiling.margin_px, tiling.stride_px))
    chosen = cut[:4] + list({window.read.shape: window for window in cut[4:]}.values())
    with source.reader(grid) as reader:
        return [reader.read(window.read, segmenter.card.mean)[0][None] for window in chosen]


def bare_geoseg(backend: str, model: str, ortho: str) -> Work:
    """The forward passes of geoseg's windows alone: images in memory, results dropped."""
    from geoseg.models import load

    segmenter = load(model, backend)
    images = some_windows(segmenter, ortho)
    forward = getattr(segmenter, "classify", segmenter)
    for image in images:
        forward(image)

    def work(ortho: str, out: Path) -> dict[str, Any]:
        started = time.perf_counter()
        for image in images:
            forward(image)
        seconds = time.perf_counter() - started
        return {"seconds": seconds, "pixels": sum(image[0, 0].size for image in images), "forward_s": seconds}

    return work


def geoseg(backend: str, model: str, ortho: str, *, everything: bool) -> Work:
    """`geoseg segment`, or all stages of `geoseg run`, with the model loaded and compiled before."""
    from geoseg import job
    from geoseg.config import load_config
    from geoseg.models import load

    config = load_config(None, [f"backend={backend}", f"model={model}"])
    segmenter = load(model, backend)
    for image in some_windows(segmenter, ortho):
        getattr(segmenter, "classify", segmenter)(image)

    def work(ortho: str, out: Path) -> dict[str, Any]:
        call = job.run if everything else job.segment
        record = json.loads((call(ortho, out, config=config, model=segmenter).path / "run.json").read_text())
        stages = record["stages"]
        loop = stages["segment"]["facts"]["loop"]
        return {
            "pixels": loop["forwarded_px"],
            "forward_s": loop["forward_s"],
            "loop_s": loop["total_s"],
            "stages": {name: stage["seconds"] for name, stage in stages.items() if "seconds" in stage},
        }

    return work


def bare_torch(net: Counted) -> Work:
    """Four images of 512 pixels in eager torch."""
    images = torch.rand(4, 3, 512, 512)

    def work(ortho: str, out: Path) -> dict[str, Any]:
        with torch.inference_mode():
            for _ in range(4):
                net(images)
        return {"seconds": net.seconds}

    return work


def simple(net: Counted, layout: torch.memory_format = torch.contiguous_format) -> Work:
    """What a scientist writes in an afternoon: windows of 1024 with a margin of 64, one after the other."""
    import rasterio
    from rasterio.windows import Window

    net.to(memory_format=layout)

    def work(ortho: str, out: Path) -> None:
        with rasterio.open(ortho) as source:
            profile = source.profile | {"count": 1, "compress": "deflate", "nodata": 255}
            with rasterio.open(out, "w", **profile) as sink, torch.inference_mode():
                for row in range(0, source.height, 1024):
                    for col in range(0, source.width, 1024):
                        window = Window(col - 64, row - 64, 1152, 1152)
                        image = source.read([1, 2, 3], window=window, boundless=True)
                        batch = torch.from_numpy(image)[None].float().div(255).to(memory_format=layout)
                        classes = net(batch)[0].argmax(0)[64:-64, 64:-64].byte().numpy()
                        height, width = min(1024, source.height - row), min(1024, source.width - col)
                        sink.write(classes[:height, :width], 1, window=Window(col, row, width, height))

    return work


def torchgeo(net: Counted) -> Work:
    """The dataset of torchgeo and its grid sampler; it has no writer, so tiles are placed by the sampler's slices."""
    import rasterio
    from torch.utils.data import DataLoader
    from torchgeo.datasets import RasterDataset, stack_samples
    from torchgeo.samplers import GriddedPatchSampler

    def placed(sampler: GriddedPatchSampler) -> Iterator[tuple[float, float]]:
        for x, y in sampler:
            yield x.start, y.stop

    def work(ortho: str, out: Path) -> None:
        dataset = RasterDataset(ortho)
        sampler = GriddedPatchSampler(dataset, size=512, stride=448)
        loader = DataLoader(dataset, batch_size=4, sampler=sampler, collate_fn=stack_samples)
        corners = placed(sampler)
        with rasterio.open(ortho) as source:
            profile, inverse = source.profile, ~source.transform
        canvas = np.full((profile["height"] + 1024, profile["width"] + 1024), 255, np.uint8)
        with torch.inference_mode():
            for batch in loader:
                found = net(batch["image"][:, :3] / 255).argmax(1).byte().numpy()
                for classes, (x, y) in zip(found, corners, strict=False):
                    col, row = inverse * (x, y)
                    row, col = round(row) + 512, round(col) + 512
                    canvas[row : row + 512, col : col + 512] = classes
        profile |= {"count": 1, "compress": "deflate", "nodata": 255}
        with rasterio.open(out, "w", **profile) as sink:
            sink.write(canvas[512 : 512 + profile["height"], 512 : 512 + profile["width"]], 1)

    return work


def geoai(net: Counted) -> Work:
    """The function `predict_geotiff` of geoai at its defaults: tiles of 256, overlap of 64, blended by splines."""
    from geoai.inference import predict_geotiff

    def work(ortho: str, out: Path) -> None:
        predict_geotiff(
            net, ortho, str(out), input_bands=[1, 2, 3], num_classes=CLASSES, output_dtype="uint8", output_nodata=255,
            postprocess_fn=lambda scores: scores.argmax(0).astype(np.uint8), device="cpu", verbose=False,
        )  # fmt: skip

    return work


def geoai_semantic(net: Counted) -> Work:
    """The function `semantic_inference_on_geotiff` of geoai at its defaults: windows of 512, overlap of 256."""
    from geoai.train import semantic_inference_on_geotiff

    def work(ortho: str, out: Path) -> None:
        semantic_inference_on_geotiff(net, ortho, str(out), num_classes=CLASSES, device=torch.device("cpu"), quiet=True)

    return work


def terratorch(net: Counted) -> Work:
    """What terratorch has, `tiled_inference`, at its defaults: crops of 224, stride of 192, blended; no files."""
    import rasterio
    from terratorch.tasks.tiled_inference import tiled_inference

    def work(ortho: str, out: Path) -> None:
        with rasterio.open(ortho) as source:
            image, profile = source.read([1, 2, 3]), source.profile
        with torch.inference_mode():
            scores = tiled_inference(net, torch.from_numpy(image)[None].float() / 255)
        profile |= {"count": 1, "compress": "deflate", "nodata": 255}
        with rasterio.open(out, "w", **profile) as sink:
            sink.write(scores[0].argmax(0).byte().numpy(), 1)

    return work


PACKAGES = {"torchgeo": "torchgeo", "geoai": "geoai-py", "geoai-semantic": "geoai-py", "terratorch": "terratorch"}


def arm(name: str, ortho: str, model: str) -> tuple[Work, Counted | None]:
    """The work that a name stands for, ready to start, and the network that it counts with."""
    kind, _, backend = name.partition(":")
    if kind == "bare":
        return bare_geoseg(backend, model, ortho), None
    if kind in ("geoseg", "geoseg-run"):
        return geoseg(backend, model, ortho, everything=kind == "geoseg-run"), None
    net = Counted(model).eval()
    makers: dict[str, Callable[[], Work]] = {
        "torch": lambda: bare_torch(net),
        "simple": lambda: simple(net),
        "simple-channels-last": lambda: simple(net, torch.channels_last),
        "torchgeo": lambda: torchgeo(net),
        "geoai": lambda: geoai(net),
        "geoai-semantic": lambda: geoai_semantic(net),
        "terratorch": lambda: terratorch(net),
    }
    work = makers[kind]()
    with tempfile.TemporaryDirectory() as folder:  # what is loaded late and done once
        work(str(cropped(Path(ortho), 512, 512, Path(folder))), Path(folder) / "out.tif")
    return work, net


def peak_mib() -> int:
    """Peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def main() -> None:
    """Load, say so, and work when told."""
    name, ortho, model = sys.argv[1:4]
    out = sys.stdout
    sys.stdout = sys.stderr  # what libraries print is no answer
    work, net = arm(name, ortho, model)
    versions = {one: importlib.metadata.version(one) for one in ("torch", *filter(None, [PACKAGES.get(name)]))}
    out.write(json.dumps({"versions": versions, "loaded_mib": peak_mib()}) + "\n")
    out.flush()
    for _ in sys.stdin:
        if net is not None:
            net.pixels, net.seconds = 0, 0.0
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            facts = work(ortho, Path(folder) / "out.tif") or {}
            seconds = time.perf_counter() - started
        counted = {} if net is None else {"pixels": net.pixels, "forward_s": net.seconds}
        out.write(json.dumps({"seconds": seconds, "peak_mib": peak_mib()} | counted | facts) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
