"""The whole pipeline on a small field whose truth is known: files, conservation, resume, refusals."""

from __future__ import annotations

import json
import shutil

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from shapely.geometry import box

from fakes import fake_card
from geoseg import job
from geoseg.config import load_config
from geoseg.errors import ConfigError, IncompleteError, InputError, PrescriptionError
from geoseg.results import open_run

GSD = 0.005
SHAPE = (1600, 2000)
TRANSFORM = Affine(GSD, 0, 500000, 0, -GSD, 5400000)
COLOURS = np.array([[150, 120, 90], [20, 200, 20], [200, 20, 200]], np.uint8)
CONFIG = ("spray.heading_deg=0", "segment.write_px=512", "spray.section_m=0.5")


class ColourSegmenter:
    """Tells classes by exact colours: what the test paints is what it finds."""

    card = fake_card(
        gsd={"train_m": GSD, "min_m": 0.002, "max_m": 0.01}, tiling={"write_px": 512, "margin_px": 32, "stride_px": 32}
    )

    def __call__(self, images):
        distance = [np.abs(images.astype(np.float32) - colour[:, None, None]).sum(axis=1) for colour in COLOURS]
        nearest = np.argmin(distance, axis=0)
        return np.stack([np.where(nearest == code, 0.9, 0.05) for code in range(3)], axis=1).astype(np.float32)


def paint() -> tuple[np.ndarray, np.ndarray]:
    """Class truth and validity: 12 crop discs in rows, 5 weed squares, a slanting invalid corner."""
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]]
    truth = np.zeros(SHAPE, np.uint8)
    for row in (300, 800, 1300):
        for col in (300, 800, 1024, 1700):
            truth[(rows - row) ** 2 + (cols - col) ** 2 < 30**2] = 1
    for row, col in ((100, 100), (505, 505), (900, 1500), (1023, 400), (1500, 1900)):
        truth[row : row + 20, col : col + 20] = 2
    return truth, rows + cols > 120


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """An ortho with an alpha band and its truth."""
    folder = tmp_path_factory.mktemp("field with späces")
    truth, valid = paint()
    with rasterio.open(
        folder / "flight äö.tif", "w", driver="GTiff", dtype="uint8", count=4, height=SHAPE[0], width=SHAPE[1],
        crs="EPSG:32632", transform=TRANSFORM, tiled=True, compress="deflate", photometric="RGB", alpha="yes",
    ) as raster:  # fmt: skip
        raster.write(COLOURS[truth].transpose(2, 0, 1), [1, 2, 3])
        raster.write(np.where(valid, 255, 0).astype(np.uint8), 4)
    return folder / "flight äö.tif", np.where(valid, truth, 255)


@pytest.fixture(scope="module")
def done(field, tmp_path_factory):
    """A finished run."""
    return job.run(
        field[0], tmp_path_factory.mktemp("runs") / "run", config=load_config(None, CONFIG), model=ColourSegmenter()
    )


def test_the_class_raster_is_the_truth_on_the_ortho_s_grid(done, field):
    with rasterio.open(done.path / "classes.tif") as raster:
        np.testing.assert_array_equal(raster.read(1), field[1])
        assert raster.transform == TRANSFORM


def test_the_preview_is_the_ortho_s_colours(done, field):
    with rasterio.open(done.path / "preview.tif") as raster, rasterio.open(field[0]) as ortho:
        factor = ortho.shape[0] // raster.shape[0]
        assert factor == 1
        valid = ortho.read(4) > 0
        np.testing.assert_array_equal(raster.read(), np.where(valid, ortho.read(), 0))
        assert raster.transform == TRANSFORM


def test_plants_and_patches_are_counted_once(done, field):
    assert len(done.plants) == done.summary["plants"]["plants"]["kept"] == 12
    assert len(done.weeds) == 5
    assert done.weeds.area_m2.sum() == pytest.approx((field[1] == 2).sum() * GSD**2, rel=1e-9)
    assert done.weeds.geometry.area.sum() == pytest.approx((field[1] == 2).sum() * GSD**2, rel=1e-6)


def test_the_prescription_treats_every_weed_and_covers_the_field(done):
    zones, boundary = done.prescription, done.layer("boundary").geometry.iloc[0]
    treated = zones[zones.rate_l_ha > 0].union_all()
    assert treated.buffer(1e-6).covers(done.weeds.union_all())
    assert zones.area.sum() == pytest.approx(boundary.area, rel=1e-9)
    assert 0 < done.summary["prescription"]["saved_percent"] < 100


def test_the_shapefile_reads_back_as_planned(done):
    (file,) = (done.path / "prescription").rglob("*.shp")
    frame = gpd.read_file(file)
    assert frame.crs.to_epsg() == 4326
    metric = frame.to_crs(32632)
    litres = (metric.area / 1e4 * frame.RATE).sum()
    assert litres == pytest.approx(done.summary["prescription"]["litres"], rel=1e-3)


def test_every_file_of_the_run_directory_is_there(done):
    names = {path.name for path in done.path.iterdir() if not path.name.startswith(".")}
    assert names == {
        "classes.qml", "classes.tif", "classes.tif.aux.xml", "confidence.qml", "confidence.tif", "field.gpkg",
        "field.qgz", "ortho.vrt", "prescription", "preview.qml", "preview.tif", "quicklook.png", "report.html",
        "report.json", "run.json", "summary.json",
    }  # fmt: skip
    record = json.loads((done.path / "run.json").read_text())
    assert set(record["stages"]) == {"segment", "vectorize", "rows", "prescribe", "picture", "qgis", "report"}
    assert record["versions"]["geoseg"] == record["inputs"]["geoseg"]


def test_results_open_lazily(done, field):
    again = open_run(done.path)
    assert again.summary == done.summary
    classes = again.classes
    assert classes.chunks is not None
    assert int((classes == 2).sum()) == (field[1] == 2).sum()


def content(path):
    """Every file of a run but its record and its report, by name."""
    skip = {"run.json", ".lock", "report.html", "report.json"}  # the report says when, how long and where
    return {p.relative_to(path): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file() and p.name not in skip}


def test_a_second_run_does_nothing(done, field):
    class Untouched(ColourSegmenter):
        def __call__(self, images):
            raise AssertionError("the network ran again")

    before = content(done.path)
    job.run(field[0], done.path, config=load_config(None, CONFIG), model=Untouched())
    assert content(done.path) == before


def test_a_killed_run_ends_with_the_same_bytes(done, field, tmp_path):
    class Killed(ColourSegmenter):
        calls = 0

        def __call__(self, images):
            Killed.calls += 1
            if Killed.calls == 7:
                raise KeyboardInterrupt
            return super().__call__(images)

    out = tmp_path / done.path.name
    with pytest.raises(KeyboardInterrupt):
        job.run(field[0], out, config=load_config(None, CONFIG), model=Killed())
    assert list((out / "blocks").glob("*.block"))
    job.run(field[0], out, config=load_config(None, CONFIG), model=ColourSegmenter())
    assert content(out) == content(done.path)


def test_window_and_batch_sizes_change_no_byte(done, field, tmp_path):
    other = (*CONFIG, "segment.write_px=256", "segment.batch=3", "segment.block_windows=1", "segment.readers=1")
    out = tmp_path / done.path.name
    job.run(field[0], out, config=load_config(None, other), model=ColourSegmenter())
    ours, theirs = content(out), content(done.path)
    for name in ours:
        if name.suffix != ".tif":  # the rasters carry the key of their blocks
            assert ours[name] == theirs[name], name
    with rasterio.open(out / "classes.tif") as one, rasterio.open(done.path / "classes.tif") as two:
        np.testing.assert_array_equal(one.read(), two.read())


def test_changed_settings_between_runs_are_refused_while_work_is_unfinished(field, tmp_path):
    class Killed(ColourSegmenter):
        def __call__(self, images):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job.run(field[0], tmp_path, config=load_config(None, CONFIG), model=Killed())
    other = load_config(None, [*CONFIG, "segment.margin_px=64"])
    with pytest.raises(ConfigError, match="another tiling"):
        job.run(field[0], tmp_path, config=other, model=ColourSegmenter())
    job.run(field[0], tmp_path, config=other, model=ColourSegmenter(), fresh=True)


def test_a_hole_in_the_ortho_is_an_error_and_not_soil(field, tmp_path, monkeypatch):
    from geoseg.errors import OrthoError
    from geoseg.ortho.reader import Reader

    read = Reader.read

    def broken(self, rect, fill=None):
        if rect.row0 <= 1200 < rect.row1 and rect.col0 <= 1200 < rect.col1:
            raise OrthoError("row 1200 cannot be read")
        return read(self, rect, fill)

    with monkeypatch.context() as patch:
        patch.setattr(Reader, "read", broken)
        with pytest.raises(IncompleteError, match="1 of 4 blocks failed.*row 1200 cannot be read"):
            job.run(field[0], tmp_path, config=load_config(None, CONFIG), model=ColourSegmenter())
    with rasterio.open(tmp_path / "classes.tif") as raster:
        assert (raster.read(1)[1024:, 1024:] == 255).all()
    assert not (tmp_path / "prescription").exists()
    done = job.run(field[0], tmp_path, config=load_config(None, CONFIG), model=ColourSegmenter())
    assert len(done.weeds) == 5


def test_another_machine_needs_no_new_segmentation(done, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(done.path, out)
    other = job.prescribe(out, config=load_config(None, [*CONFIG, "spray.section_m=2", "spray.rate_l_ha=100"]))
    assert other.summary["prescription"]["treated_ha"] > done.summary["prescription"]["treated_ha"]
    assert set(other.prescription.rate_l_ha) == {0, 100}


def test_a_boundary_limits_everything(field, tmp_path):
    path = tmp_path / "boundary.geojson"
    inside = box(500003, 5400000 - 7, 500009, 5400000 - 1)
    gpd.GeoDataFrame(geometry=[inside], crs=32632).to_crs(4326).to_file(path)
    done = job.run(field[0], tmp_path / "run", boundary=path, config=load_config(None, CONFIG), model=ColourSegmenter())
    assert done.summary["field_ha"] * 1e4 == pytest.approx(36, rel=1e-3)
    assert done.weeds.union_all().within(inside.buffer(0.01))
    assert done.summary["classes"]["soil"]["area_m2"] < 36


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_without_georeference_there_is_a_map_and_no_prescription(field, tmp_path):
    with rasterio.open(field[0]) as source, rasterio.open(
        tmp_path / "plain.tif", "w", driver="GTiff", dtype="uint8", count=4, height=SHAPE[0], width=SHAPE[1],
        photometric="RGB", alpha="yes",
    ) as raster:  # fmt: skip
        raster.write(source.read())
    with pytest.raises(InputError, match="--gsd"):
        job.run(tmp_path / "plain.tif", tmp_path / "run", model=ColourSegmenter())
    config = load_config(None, [*CONFIG, "ortho.gsd_m=0.005", "ortho.crs=EPSG:32632"])
    done = job.run(tmp_path / "plain.tif", tmp_path / "run", config=config, model=ColourSegmenter())
    assert len(done.plants) == 12
    assert "no georeference" in done.summary["prescription"]["refused"]
    assert not (done.path / "prescription").exists()
    with pytest.raises(PrescriptionError, match="no georeference"):
        job.prescribe(done.path, config=config)


def test_another_machine_from_another_folder_and_without_the_ortho(field, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    shutil.copy(field[0], tmp_path / "here" / "flight.tif")
    monkeypatch.chdir(tmp_path / "here")
    job.run("flight.tif", "run", config=load_config(None, CONFIG), model=ColourSegmenter())
    monkeypatch.chdir(tmp_path / "there")
    run = tmp_path / "here" / "run"
    first = job.prescribe(run, config=load_config(None, [*CONFIG, "spray.section_m=1"]))
    assert first.summary["warnings"] == []
    assert (run / "quicklook.png").exists()
    (tmp_path / "here" / "flight.tif").unlink()
    before = (run / "quicklook.png").read_bytes()
    second = job.prescribe(run, config=load_config(None, [*CONFIG, "spray.section_m=2"]))
    assert (run / "quicklook.png").read_bytes() != before
    assert second.summary["prescription"]["treated_ha"] > first.summary["prescription"]["treated_ha"]
