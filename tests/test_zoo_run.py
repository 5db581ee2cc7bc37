"""`geoseg run` with architectures of other libraries: model directories like any other, and plants of Mask R-CNN."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import torch
import torch.nn.functional as F
from scipy import ndimage

from fakes import fake_card
from geoseg import job
from geoseg.config import load_config
from geoseg.models import save
from geoseg.models.storage import TorchSegmenter
from geoseg.models.zoo import build
from test_job import COLOURS, GSD, field  # noqa: F401 - a fixture

GSD_RANGE = {"train_m": GSD, "min_m": 0.002, "max_m": 0.01}
pytest.importorskip("segmentation_models_pytorch", reason="the zoo extra is not installed")


class PerfectDetector(torch.nn.Module):
    """In the place of torchvision's network: boxes and masks of everything that has the colour of a plant."""

    def forward(self, images):
        found = []
        for image in images:
            pixels = (image * 0.5 + 0.5).permute(1, 2, 0) * 255
            classes = (pixels[:, :, None] - torch.from_numpy(COLOURS).float()).abs().sum(-1).argmin(-1).numpy()
            parts, _ = ndimage.label(classes > 0)
            boxes, labels, masks = [], [], []
            for number, place in enumerate(ndimage.find_objects(parts), start=1):
                mask = torch.from_numpy(parts[place] == number)
                boxes.append([place[1].start, place[0].start, place[1].stop, place[0].stop])
                labels.append(int(classes[place][mask.numpy()][0]))
                masks.append(F.interpolate(mask[None, None].float(), size=(28, 28), mode="bilinear")[0])
            found.append(
                {
                    "boxes": torch.tensor(boxes).float().reshape(-1, 4),
                    "labels": torch.tensor(labels, dtype=torch.int64),
                    "scores": torch.full((len(boxes),), 0.9),
                    "masks": torch.stack(masks) if masks else torch.zeros(0, 1, 28, 28),
                }
            )
        return found


def votes(folder):
    """Classes, and for every pixel of half the resolution with a plant where it points to."""
    with rasterio.open(folder / "classes.tif") as raster:
        classes = raster.read(1)
    with rasterio.open(folder / "offsets.tif") as raster:
        offsets = raster.read().astype(int)
    rows, cols = np.nonzero(np.abs(offsets).sum(axis=0))
    return classes, rows, cols, np.stack([rows, cols]) + offsets[:, rows, cols]


def test_plants_of_mask_rcnn_do_not_depend_on_how_the_ortho_is_cut(field, tmp_path):  # noqa: F811
    network = build("mask_rcnn", {"width": 16}, 3, 3)
    network.network = PerfectDetector()
    tiling = {"write_px": 512, "margin_px": 64, "stride_px": 32}
    card = fake_card(architecture="mask_rcnn", instances="offsets", gsd=GSD_RANGE, tiling=tiling)
    model = TorchSegmenter(card, network)
    found = []
    for side in (320, 2048):
        settings = load_config(None, (f"segment.write_px={side}", "spray.heading_deg=0"))
        done = job.run(field[0], tmp_path / str(side), config=settings, model=model)
        plants = gpd.read_file(done.path / "field.gpkg", layer="plants")
        found.append((votes(done.path), plants))
    (classes, rows, cols, there), (others, _, _, _) = found[0][0], found[1][0]
    known = field[1] != 255
    assert (classes == others)[known].mean() > 0.9999  # a mask that a window cuts is sampled anew
    assert (classes == field[1])[known].mean() > 0.999
    centres = np.array([(row, col) for row in (300, 800, 1300) for col in (300, 800, 1024, 1700)]) / 2
    near = np.abs(np.stack([rows, cols])[:, :, None] - centres.T[:, None]).max(axis=0)
    on = near.min(axis=1) < 14
    misses = np.abs(there[:, on] - centres[near.argmin(axis=1)[on]].T + 0.25)
    assert float(misses.max()) <= 2  # across seams too
    assert len(found[0][1]) == len(found[1][1])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(
    ("name", "params", "instances"),
    [("smp_deeplabv3plus", {}, "none"), ("lraspp", {}, "none"), ("mask_rcnn", {"width": 16}, "offsets")],
)
def test_a_model_directory_of_any_architecture_runs(field, tmp_path, name, params, instances):  # noqa: F811
    torch.manual_seed(0)
    tiling = {"write_px": 1024, "margin_px": 32, "stride_px": 32}
    card = fake_card(architecture=name, params=params, instances=instances, gsd=GSD_RANGE, tiling=tiling)
    save(tmp_path / "model", card, build(name, params, 3, 3))
    settings = load_config(None, (f"model={tmp_path / 'model'}",))
    done = job.segment(field[0], tmp_path / "run", config=settings)
    with rasterio.open(done.path / "classes.tif") as raster:
        found = raster.read(1)
    np.testing.assert_array_equal(found == 255, field[1] == 255)
    assert (done.path / "offsets.tif").exists() == (instances == "offsets")
