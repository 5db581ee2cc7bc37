"""Blocks to COGs, read back with rasterio and GDAL's own metadata."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from concurrent.futures import Executor, Future
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.errors import RunError
from geoseg.legend import LEGEND
from geoseg.segment import cog
from geoseg.segment.blocks import BlockStore, CorruptBlockError
from geoseg.segment.cog import Sink
from geoseg.segment.layers import CLASSES, CONFIDENCE, OFFSETS
from geoseg.segment.preview import preview_layer
from geoseg.segment.stitch import Assembly, assemble_layer, stitch
from geoseg.windows import Rect

SHAPE = (1300, 1700)
GRID = GeoBox(SHAPE, Affine(0.003, 0, 690000, 0, -0.003, 5360000), "EPSG:32632")
RNG = np.random.default_rng(3)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stitch")
    store = BlockStore(folder / "blocks", SHAPE, 512, {})
    wanted = np.full(SHAPE, 255, np.uint8)
    for number, block in enumerate(store):
        if number == 2:
            store.save_empty(block)
        elif number == 5:
            store.save_failed(block, "no")
        else:
            wanted[block.slices] = RNG.choice(np.array([0, 0, 0, 1, 2, 255], np.uint8), block.shape)
            store.save(block, wanted[block.slices], np.where(wanted[block.slices] == 255, 255, 80).astype(np.uint8))
    return folder, wanted, stitch(store, GRID, files_in(folder), {"GEOSEG_KEY": "abc"})


def files_in(folder, names=("classes", "confidence")):
    return {name: folder / f"{name}.tif" for name in names}


def test_every_pixel_is_where_its_block_put_it(run):
    folder, wanted, _ = run
    with rasterio.open(folder / "classes.tif") as raster:
        np.testing.assert_array_equal(raster.read(1), wanted)
        assert raster.transform == GRID.affine
        assert raster.crs.to_epsg() == 32632
        assert raster.nodata == 255
    with rasterio.open(folder / "confidence.tif") as raster:
        np.testing.assert_array_equal(raster.read(1), np.where(wanted == 255, 255, 80))


def test_pixels_are_counted_by_class(run):
    _, wanted, counts = run
    for code in (0, 1, 2):
        assert counts[code] == (wanted == code).sum()


def test_it_is_a_cog_with_palette_names_and_overviews(run):
    folder, _, _ = run
    with rasterio.open(folder / "classes.tif") as raster:
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert raster.profile["tiled"]
        assert raster.profile["compress"] == "deflate"
        assert raster.overviews(1) == [2, 4]
        assert {code: raster.colormap(1)[code] for code in (0, 1, 2)} == {e.code: (*e.rgb, 255) for e in LEGEND.entries}
        assert raster.tags()["CLASSES"] == "0 soil, 1 crop, 2 weed"
        assert raster.tags()["GEOSEG_KEY"] == "abc"
    assert "<Category>weed</Category>" in (folder / "classes.tif.aux.xml").read_text()


def test_overviews_never_invent_a_class(run):
    folder, wanted, _ = run
    with rasterio.open(folder / "classes.tif", overview_level=0) as raster:
        half = raster.read(1)
    quads = np.stack([wanted[i::2, j::2] for i in (0, 1) for j in (0, 1)])
    assert (quads == half).any(axis=0).all()


def test_the_same_blocks_give_the_same_bytes(run, tmp_path):
    folder, _, _ = run
    store = BlockStore(folder / "blocks", SHAPE, 512, {})
    stitch(store, GRID, files_in(tmp_path), {"GEOSEG_KEY": "abc"})
    for name in ("classes.tif", "confidence.tif"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.parametrize("damage", ["missing", "corrupt"])
def test_a_damaged_block_never_becomes_nodata(run, tmp_path, damage):
    shutil.copytree(run[0] / "blocks", tmp_path / "blocks")
    store = BlockStore(tmp_path / "blocks", SHAPE, 512, {})
    path = tmp_path / "blocks" / "r0000512_c0001024.block"
    path.unlink() if damage == "missing" else path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RunError, match="not been done" if damage == "missing" else "damaged"):
        stitch(store, GRID, files_in(tmp_path), {})
    assert {path.name for path in tmp_path.iterdir()} == {"blocks"}


FULL = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_stitch import GRID, SHAPE, BlockStore, stitch
folder = Path(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
files = {"classes": folder / "full.tif", "confidence": folder / "full2.tif"}
stitch(BlockStore(folder / "blocks", SHAPE, 512, {}), GRID, files, {})
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of file sizes")
@pytest.mark.parametrize("limit", [1000, 100_000, 470_000])
def test_a_file_that_cannot_be_written_is_an_error(run, limit):
    """The system refuses to let a file grow, as it does on a full disk."""
    found = subprocess.run(
        [sys.executable, "-c", FULL, str(run[0]), str(Path(__file__).parent), str(limit)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "RunError: " in found.stderr
    assert "disk" in found.stderr.splitlines()[-1]
    assert not list(run[0].glob("*full.*"))


@pytest.mark.parametrize("stage", ["write", "finish"])
def test_a_failure_leaves_the_old_files_and_nothing_else(run, tmp_path, monkeypatch, stage):
    def broken(self, *args):
        if self._layer == CONFIDENCE:
            raise ZeroDivisionError
        original(self, *args)

    original = getattr(Sink, stage)
    monkeypatch.setattr(Sink, stage, broken)
    for path in files_in(tmp_path).values():
        path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError):
        stitch(BlockStore(run[0] / "blocks", SHAPE, 512, {}), GRID, files_in(tmp_path), {})
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {
        "classes.tif": b"old",
        "confidence.tif": b"old",
    }


def travelled(something):
    """What reaches another process."""
    return pickle.loads(pickle.dumps(something))  # noqa: S301 - our own


class Elsewhere(Executor):
    """Another process, as far as a task can tell: it gets copies. Starts when it has two tasks, with the last one."""

    def __init__(self):
        self.waiting, self.done = [], []

    def submit(self, function, /, *arguments):
        self.waiting.append((future := Future(), travelled((function, arguments))))
        while len(self.waiting) + len(self.done) == 2 and self.waiting:
            self.run(*self.waiting.pop())
        return future

    def run(self, future, task):
        function, arguments = task
        self.done.append(arguments[-1])
        try:
            future.set_result(travelled(function(*arguments)))
        except RunError as error:
            future.set_exception(travelled(error))


class Dying(Elsewhere):
    """Every task has been begun before, by a worker that died over it."""

    def run(self, future, task):
        assembly, layer = task[1]
        sink = Sink(assembly.files[layer.name], GRID, layer, {}, 512, assembly.mark)
        sink.write(Rect(0, 0, 512, 512), np.ones((512, 512), np.uint8))
        sink._file.close()
        sink.cog.write_bytes(b"half of it")
        assert len(list(sink.cog.parent.glob(f".*{assembly.mark}*"))) >= 2
        super().run(future, task)


@pytest.mark.parametrize("executor", [Elsewhere, Dying])
def test_each_layer_is_a_task_and_the_bytes_are_the_same_wherever_it_is_done(run, tmp_path, executor):
    store, elsewhere = BlockStore(run[0] / "blocks", SHAPE, 512, {}), executor()
    counts = stitch(store, GRID, files_in(tmp_path), {"GEOSEG_KEY": "abc"}, elsewhere)
    assert elsewhere.done == [CONFIDENCE, CLASSES]
    assert counts == run[2]
    assert {path.name for path in tmp_path.iterdir()} == {"classes.tif", "confidence.tif", "classes.tif.aux.xml"}
    for name in ("classes.tif", "confidence.tif"):
        assert (tmp_path / name).read_bytes() == (run[0] / name).read_bytes()


def test_what_one_task_finds_damaged_and_another_misses_is_damaged(run, tmp_path):
    shutil.copytree(run[0] / "blocks", tmp_path / "blocks")
    path = tmp_path / "blocks" / "r0000512_c0001024.block"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # in the last layer's part
    path.write_bytes(content)
    store, elsewhere = BlockStore(tmp_path / "blocks", SHAPE, 512, {}), Elsewhere()
    with pytest.raises(CorruptBlockError):
        stitch(store, GRID, files_in(tmp_path), {}, elsewhere)
    assert elsewhere.done == [CONFIDENCE, CLASSES]
    assert [path.name for path in tmp_path.iterdir()] == ["blocks"]


@pytest.mark.parametrize("moment", ["load", "_to_cog"])
def test_a_task_whose_files_were_discarded_ends_and_leaves_nothing(run, tmp_path, monkeypatch, moment):
    """As when another task failed, or the process that was called has gone and its directory was swept."""
    where = {"load": BlockStore, "_to_cog": cog}[moment]
    original = getattr(where, moment)

    def swept(*arguments, **more):
        found = original(*arguments, **more)
        for path in tmp_path.glob(".*draftmark*"):
            path.unlink()  # the COG driver goes on with what it has open
        return found

    monkeypatch.setattr(where, moment, swept)
    store = BlockStore(run[0] / "blocks", SHAPE, 512, {})
    with pytest.raises(RunError, match=r"classes\.tif is not wanted any more"):
        assemble_layer(Assembly(store, GRID, files_in(tmp_path), {}, "mark"), CLASSES)
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_does_not_see_the_blocks_says_so(run, tmp_path):
    store = BlockStore(tmp_path / "blocks", SHAPE, 512, {})
    shutil.rmtree(tmp_path / "blocks")
    with pytest.raises(RunError, match="every worker must see the run directory"):
        stitch(store, GRID, files_in(tmp_path), {})
    assert list(tmp_path.iterdir()) == []


def test_coarser_layers_lie_where_their_pixels_are(tmp_path):
    shape = (203, 301)
    grid = GeoBox(shape, GRID.affine, GRID.crs)
    layers = CLASSES, CONFIDENCE, OFFSETS, preview_layer((203, 4097), 64, "uint8")
    store = BlockStore(tmp_path / "blocks", shape, 64, {}, layers)
    wanted = {layer.name: layer.empty(Rect(0, 0, *shape)) for layer in layers}
    for number, block in enumerate(store):
        if number == 3:
            store.save_failed(block, "no")
            continue
        parts = [RNG.integers(0, 100, layer.shape(block)).astype(layer.dtype) for layer in layers]
        store.save(block, *parts)
        for layer, part in zip(layers, parts, strict=True):
            wanted[layer.name][(..., *layer.rect(block).slices)] = part
    stitch(store, grid, files_in(tmp_path, wanted), {})
    for layer in layers:
        with rasterio.open(tmp_path / f"{layer.name}.tif") as raster:
            np.testing.assert_array_equal(np.squeeze(raster.read()), wanted[layer.name])
            assert raster.shape == (-(-203 // layer.scale), -(-301 // layer.scale))
            assert (raster.dtypes[0], raster.count) == (layer.dtype, layer.bands)
            assert raster.transform * (10, 10) == pytest.approx(GRID.affine * (10 * layer.scale, 10 * layer.scale))
    with rasterio.open(tmp_path / "offsets.tif") as raster:
        assert (raster.descriptions, raster.nodata) == (("down", "right"), None)
    with rasterio.open(tmp_path / "preview.tif") as raster:
        assert [colour.name for colour in raster.colorinterp] == ["red", "green", "blue", "alpha"]
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
