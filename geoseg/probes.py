"""What `geoseg doctor` tries in processes of their own: each library is loaded and does a little of its real work.

Run by `geoseg.doctor`, one probe in one process: a crash ends the probe and nothing else.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from geoseg.finding import Finding

__all__ = ["tell"]

RASTER_DRIVERS = {"GTiff", "COG", "MEM", "VRT", "PNG", "JPEG"}
VECTOR_DRIVERS = {"GPKG", "ESRI Shapefile", "GeoJSON", "KML"}
_CONFLICT = "another program's PROJ is in the way: unset PROJ_LIB, PROJ_DATA and GDAL_DATA, or start a new terminal"


def tell(name: str) -> None:
    """Print the findings of a probe, a line of JSON each; what goes wrong is left to the interpreter."""
    for finding in _PROBES[name]():
        sys.stdout.write(json.dumps(dataclasses.asdict(finding)) + "\n")
        sys.stdout.flush()


def _torch() -> Iterator[Finding]:
    torch: Any = import_module("torch")
    one = torch.nn.functional.conv2d(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 3, 3))
    if float(one.sum()) != 36:
        remedy = "pip install --force-reinstall torch"
        yield Finding(
            "error", "torch", f"{torch.__version__} convolves wrongly: {float(one.sum()):g} is not 36", remedy
        )
    yield Finding("ok", "torch", f"{torch.__version__}, {torch.get_num_threads()} threads")
    yield _gpu(torch)


def _gpu(torch: Any) -> Finding:
    if torch.cuda.is_available():
        kind = torch.cuda.get_device_properties(0)
        half = "with" if torch.cuda.is_bf16_supported() else "without"
        count = torch.cuda.device_count()
        more = f", the first of {count}" if count > 1 else ""
        float((torch.ones(8, device="cuda") * 2).sum())  # a driver that is too old fails here
        return Finding("ok", "GPU", f"{kind.name}, {kind.total_memory / 2**30:.0f} GiB, {half} bf16{more}")
    driver = shutil.which("nvidia-smi")
    if driver is not None and torch.version.cuda is None:
        remedy = "install a torch with CUDA: pip install --force-reinstall torch --index-url (see pytorch.org)"
        return Finding("warning", "GPU", "there is an NVIDIA driver, but this torch is for the processor only", remedy)
    if driver is not None:
        remedy = f"update the NVIDIA driver to one for CUDA {torch.version.cuda}; in a container grant it the GPU"
        return Finding(
            "warning", "GPU", f"there is an NVIDIA driver, but torch (CUDA {torch.version.cuda}) sees none", remedy
        )
    return Finding("ok", "GPU", "none; networks run on the processor")


def _openvino() -> Iterator[Finding]:
    openvino: Any = import_module("openvino")
    np: Any = import_module("numpy")
    ops: Any = import_module("openvino.opset13")
    given = ops.parameter([2, 3], np.float32)
    model = openvino.Model([ops.add(given, ops.constant(np.float32(1)))], [given], "one")
    core = openvino.Core()
    found = core.compile_model(model, "CPU")([np.zeros((2, 3), np.float32)])[0]
    if not (found == 1).all():
        yield Finding("warning", "OpenVINO", f"0 + 1 gives {found.ravel()[0]}", "run with --set backend=torch-cpu")
    able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    half = "bf16 and 32 bits" if "BF16" in able else "32 bits"
    version = openvino.get_version().partition("-")[0]
    yield Finding("ok", "OpenVINO", f"{version}, {half} on {core.get_property('CPU', 'FULL_DEVICE_NAME').strip()}")


def _rasterio() -> Iterator[Finding]:
    rasterio: Any = import_module("rasterio")
    warp: Any = import_module("rasterio.warp")
    np: Any = import_module("numpy")
    text = f"rasterio {rasterio.__version__} with GDAL {rasterio.__gdal_version__}"
    with rasterio.Env() as env:
        lacking = sorted(RASTER_DRIVERS - set(env.drivers()))
    if lacking:
        yield Finding(
            "error", "GDAL", f"{text}, without {', '.join(lacking)}", "pip install rasterio, which brings them"
        )
    try:
        crs = rasterio.crs.CRS.from_epsg(32632)
        east, _ = warp.transform("EPSG:4326", crs, [9.0], [50.0])
    except (rasterio.errors.RasterioError, ValueError) as error:
        yield Finding("error", "PROJ", f"{text}: {' '.join(str(error).split())}", _CONFLICT)
        return
    if abs(east[0] - 500_000) > 0.01:
        yield Finding("error", "PROJ", f"the meridian of zone 32 lies at {east[0]:.2f} m instead of 500000", _CONFLICT)
    with tempfile.TemporaryDirectory() as folder:
        missing = [name for name in ("DEFLATE", "WEBP", "LZW", "ZSTD") if not _packs(rasterio, np, Path(folder), name)]
    if "DEFLATE" in missing:
        yield Finding("error", "GDAL", f"{text} cannot write a GeoTIFF", "pip install --force-reinstall rasterio")
    elif missing:
        remedy = "orthos packed so cannot be read here; pip's own rasterio has all of them"
        yield Finding("note", "GDAL", f"{text}, without {', '.join(missing)}", remedy)
    elif not lacking:
        yield Finding("ok", "GDAL", f"{text}; reads and writes GeoTIFF and COG")


def _packs(rasterio: Any, np: Any, folder: Path, packing: str) -> bool:
    """Whether a GeoTIFF with this packing comes back as it was written."""
    path, values = folder / f"{packing}.tif", np.arange(3 * 32 * 32, dtype=np.uint8).reshape(3, 32, 32)
    shape = {"driver": "GTiff", "width": 32, "height": 32, "count": 3, "dtype": "uint8", "crs": "EPSG:32632"}
    lossless = {"WEBP_LOSSLESS": "YES"} if packing == "WEBP" else {}
    transform = rasterio.transform.from_origin(5e5, 5e6, 1, 1)
    try:
        with rasterio.open(
            path, "w", **shape, transform=transform, compress=packing, interleave="pixel", **lossless
        ) as file:
            file.write(values)
        with rasterio.open(path) as file:
            return bool((file.read() == values).all())
    except (rasterio.errors.RasterioError, OSError, ValueError):
        return False


def _vectors() -> Iterator[Finding]:
    pyogrio, pyproj, shapely = (import_module(name) for name in ("pyogrio", "pyproj", "shapely"))
    geopandas: Any = import_module("geopandas")
    gdal = ".".join(str(part) for part in pyogrio.__gdal_version__)
    proj = f"pyproj {pyproj.__version__} with PROJ {pyproj.proj_version_str}"
    text = f"pyogrio {pyogrio.__version__} with GDAL {gdal}, {proj}"
    lacking = sorted(VECTOR_DRIVERS - {name for name, able in pyogrio.list_drivers().items() if "w" in able})
    if lacking:
        yield Finding(
            "error", "vectors", f"{text}, without {', '.join(lacking)}", "pip install --force-reinstall pyogrio"
        )
    try:
        pyproj.CRS.from_epsg(32632)
        pyproj.Transformer.from_crs(4326, 32632, always_xy=True).transform(9.0, 50.0)
    except pyproj.exceptions.ProjError as error:
        yield Finding("error", "PROJ", f"{pyproj.datadir.get_data_dir()}: {' '.join(str(error).split())}", _CONFLICT)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "field.gpkg"
        frame = geopandas.GeoDataFrame({"class": ["weed"]}, geometry=[shapely.box(0, 0, 1, 1)], crs=32632)
        frame.to_file(path, layer="field")
        if not geopandas.read_file(path, layer="field").geom_equals(frame.geometry).all():
            yield Finding(
                "error",
                "vectors",
                f"{text}: a GeoPackage comes back otherwise",
                "pip install --force-reinstall pyogrio",
            )
    if not lacking:
        yield Finding("ok", "vectors", f"{text}; writes and reads GeoPackage")


def _model() -> Iterator[Finding]:
    np: Any = import_module("numpy")
    models: Any = import_module("geoseg.models")
    started = time.perf_counter()
    segmenter = models.load("default")
    side = 16 * segmenter.card.tiling.stride_px
    found = segmenter(np.full((1, len(segmenter.card.bands), side, side), 128, np.uint8))
    seconds = time.perf_counter() - started
    name = f"{segmenter.card.name} {segmenter.card.version} on {segmenter.backend}"
    if abs(float(found.sum(axis=1).mean()) - 1) > 0.01:
        yield Finding("error", "model", f"{name} gives no probabilities", "run with --set backend=torch-cpu")
    yield Finding("ok", "model", f"{name}; loaded and run in {seconds:.1f} s")


_PROBES = {"torch": _torch, "openvino": _openvino, "rasterio": _rasterio, "vectors": _vectors, "model": _model}
