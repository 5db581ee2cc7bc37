"""panoptic.tif and COCO panoptic files, read back by the conventions of those who read them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image

from geoseg.errors import InputError
from geoseg.export.geopackage import FieldPackage
from geoseg.export.panoptic import write_coco_panoptic, write_panoptic
from geoseg.segment.plantbatch import Rasters
from geoseg.segment.plants import PlantConfig, collect
from test_instances import plants

TRANSFORM = Affine(0.5, 0, 690_000, 0, -0.5, 5_360_000)


@pytest.fixture(params=[1, 2, 3])
def run(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, np.ndarray]:
    """A folder with classes.tif and field.gpkg, and the classes."""
    classes, confidence, offsets = plants(request.param, 0.5)
    classes[-3:] = 255
    for name, values, transform in (
        ("classes", classes[None], TRANSFORM), ("confidence", confidence[None], TRANSFORM),
        ("offsets", offsets, TRANSFORM @ Affine.scale(2)),
    ):  # fmt: skip
        with rasterio.open(
            tmp_path / f"{name}.tif", "w", driver="GTiff", count=len(values), height=values.shape[1],
            width=values.shape[2], dtype=values.dtype.name, crs="EPSG:32632", transform=transform,
        ) as raster:  # fmt: skip
            raster.write(values)
    config = PlantConfig(method="offsets", min_plant_m2=1.0, max_plant_m=14, scatter_m=1.0)
    rasters = Rasters(*(tmp_path / f"{name}.tif" for name in ("classes", "confidence", "offsets")))
    with FieldPackage(tmp_path / "field.gpkg", "EPSG:32632") as package:
        collect(rasters, config, package)
    return tmp_path, classes


def test_every_pixel_holds_the_row_of_its_plant(run: tuple[Path, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, classes = run
    monkeypatch.setattr("geoseg.export.panoptic._BLOCK_PX", 16)
    count = write_panoptic(folder / "field.gpkg", folder / "classes.tif", folder / "panoptic.tif")
    with rasterio.open(folder / "panoptic.tif") as raster:
        numbers = raster.read(1)
        assert (raster.dtypes[0], raster.transform, raster.crs) == ("uint32", TRANSFORM, "EPSG:32632")
    outlines = gpd.read_file(folder / "field.gpkg", layer="plant_outlines", fid_as_index=True)
    assert count == len(outlines) > 0
    area = np.bincount(numbers.ravel(), minlength=count + 1)[1:] * 0.25
    np.testing.assert_allclose(area, outlines.area_m2)
    for number, plant in outlines.iterrows():
        assert np.flatnonzero(numbers.ravel() == number)[0] == plant.plant_id
        codes = classes[numbers == number]
        assert plant["class"] == ("crop" if 2 * (codes == 1).sum() >= codes.size else "weed")
    assert not numbers[~np.isin(classes, (1, 2))].any()
    lines = list(csv.DictReader((folder / "panoptic.csv").read_text().splitlines()))
    assert [(int(line["id"]), line["class"], int(line["plant_id"])) for line in lines] == list(
        zip(outlines.index, outlines["class"], outlines.plant_id, strict=True)
    )
    assert not list(folder.glob(".*"))


def test_coco_panoptic_files_are_what_its_readers_expect(run: tuple[Path, np.ndarray]) -> None:
    folder, classes = run
    write_panoptic(folder / "field.gpkg", folder / "classes.tif", folder / "panoptic.tif")
    count = write_coco_panoptic(folder / "classes.tif", folder / "panoptic.tif", folder / "coco", 32)
    with rasterio.open(folder / "panoptic.tif") as raster:
        field = raster.read(1)
    document = json.loads((folder / "coco" / "panoptic.json").read_text())
    things = {category["id"]: category["isthing"] for category in document["categories"]}
    names = {category["id"]: category["name"] for category in document["categories"]}
    table = {line["id"]: line["class"] for line in csv.DictReader((folder / "panoptic.csv").read_text().splitlines())}
    images = {image["id"]: image for image in document["images"]}
    assert len(images) == count == len(document["annotations"])
    seen = np.zeros(classes.shape, bool)
    for annotation in document["annotations"]:
        image = images[annotation["image_id"]]
        colours = np.array(Image.open(folder / "coco" / annotation["file_name"]), np.uint32)
        assert colours.shape == (image["height"], image["width"], 3)
        ids = colours[..., 0] + 256 * colours[..., 1] + 256**2 * colours[..., 2]  # panopticapi's rgb2id
        place = np.s_[image["row"] : image["row"] + image["height"], image["col"] : image["col"] + image["width"]]
        here, numbers = classes[place], field[place]
        seen[place] = True
        segments = {segment["id"]: segment for segment in annotation["segments_info"]}
        assert set(np.unique(ids)) - {0} == set(segments), "no segment without pixels, no pixels without a segment"
        for number, segment in segments.items():
            rows, cols = np.nonzero(ids == number)
            left, top, width, height = segment["bbox"]
            assert (left, top) == (cols.min(), rows.min())
            assert (left + width, top + height) == (cols.max() + 1, rows.max() + 1)
            assert segment["area"] == len(rows)
            if things[segment["category_id"]]:
                assert set(numbers[rows, cols]) == {segment["plant"]}
                assert names[segment["category_id"]] == table[str(segment["plant"])]
            else:
                assert set(here[rows, cols]) == {{"soil": 0, "weed cover": 2}[names[segment["category_id"]]]}
                assert not numbers[rows, cols].any()
        assert (here[ids == 0] == 255).sum() + ((here == 1) & (numbers == 0)).sum() == (ids == 0).sum()
    assert (classes[~seen] == 255).all()
    with pytest.raises(InputError, match="holds panoptic.json already"):
        write_coco_panoptic(folder / "classes.tif", folder / "panoptic.tif", folder / "coco", 32)
    with pytest.raises(InputError, match="expected 16 to 4096"):
        write_coco_panoptic(folder / "classes.tif", folder / "panoptic.tif", folder / "other", 5000)
    assert [path.suffix for path in (folder / "coco").iterdir() if path.name.startswith(".")] == []
