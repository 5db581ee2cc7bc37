"""A QGIS project: layers in groups, themes, pages to print, all in one ``.qgz`` with paths relative to it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Literal
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from geoseg.qgis.styles import QGIS, Style
from geoseg.qgis.xml import Element, document, element

if TYPE_CHECKING:
    import pyproj

__all__ = ["Bounds", "Group", "Layer", "Project", "Theme", "layer_tree", "spatial_reference"]

Bounds = tuple[float, float, float, float]
"""Left, bottom, right, top."""
_CHECKED = {True: "Qt::Checked", False: "Qt::Unchecked"}


@dataclass(frozen=True)
class Layer:
    """One layer of a project.

    Attributes:
        key: Its short name, unique in the project: letters and underscores.
        name: What the legend calls it.
        source: Where it is, as QGIS writes it: ``./classes.tif``, ``./field.gpkg|layername=rows``.
        kind: What its features are; ``raster`` for pixels.
        style: How it is drawn.
        crs: Its CRS.
        about: What it is, a sentence or two; the layer's tool tip.
        visible: Whether it is switched on.
        expanded: Whether its legend is unfolded.
        entries: Numbers of the legend's entries that are shown, from 0; None: all of them.
    """

    key: str
    name: str
    source: str
    kind: Literal["Point", "Line", "Polygon", "raster"]
    style: Style
    crs: pyproj.CRS
    about: str = ""
    visible: bool = True
    expanded: bool = False
    entries: tuple[int, ...] | None = None

    @property
    def id(self) -> str:
        """What QGIS knows it by; it drops layers whose id has ten letters or fewer."""
        return f"geoseg_layer_{self.key}"

    @property
    def provider(self) -> str:
        """QGIS's name of what reads it."""
        return "gdal" if self.kind == "raster" else "ogr"

    def element(self) -> Element:
        """The layer as XML."""
        vector = {"type": "vector", "geometry": self.kind, "simplifyDrawingHints": 1, "simplifyMaxScale": 1}
        head = {"type": "raster"} if self.kind == "raster" else vector
        encoding = {} if self.kind == "raster" else {"encoding": "UTF-8"}
        about = [element("title", text=self.name), element("abstract", text=self.about)]
        return element(
            "maplayer",
            head | {"styleCategories": "AllStyleCategories"} | self.style.attributes,
            [
                element("id", text=self.id),
                element("datasource", text=self.source),
                element("layername", text=self.name),
                element("srs", {}, [spatial_reference(self.crs)]),
                element("resourceMetadata", {}, about),
                element("provider", encoding, text=self.provider),
                *self.style.elements(),
            ],
        )  # fmt: skip


@dataclass(frozen=True)
class Group:
    """Layers under one heading, the uppermost first."""

    name: str
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Theme:
    """A choice of layers that one click switches on.

    Attributes:
        name: What the menu calls it.
        keys: The layers that are visible.
    """

    name: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Project:
    """Everything that QGIS opens at one double click.

    Attributes:
        title: Name of the field.
        about: What the project is, for its properties.
        crs: CRS of the map.
        bounds: What is seen first, in that CRS.
        groups: Layers in groups, the uppermost first; a group without a name puts its layers at the top.
        themes: Choices of layers.
        layouts: Pages to print, as XML.
    """

    title: str
    about: str
    crs: pyproj.CRS
    bounds: Bounds
    groups: tuple[Group, ...]
    themes: tuple[Theme, ...] = ()
    layouts: Sequence[Element] = ()

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers, the uppermost first."""
        return tuple(layer for group in self.groups for layer in group.layers)

    def text(self) -> str:
        """The project as XML."""
        extent = dict(zip(("xmin", "ymin", "xmax", "ymax"), self.bounds, strict=True))
        paths = element("Paths", {}, [element("Absolute", {"type": "bool"}, text="false")])
        reference = element("SpatialRefSys", {}, [element("ProjectionsEnabled", {"type": "int"}, text=1)])
        parts = [
            element("homePath", {"path": ""}),
            element("title", text=self.title),
            element("projectCrs", {}, [spatial_reference(self.crs)]),
            layer_tree(self.groups),
            self._canvas(extent),
            element("projectlayers", {}, [layer.element() for layer in self.layers]),
            element("layerorder", {}, [element("layer", {"id": layer.id}) for layer in self.layers]),
            element("properties", {}, [paths, reference]),
            element("visibility-presets", {}, [self._theme(theme) for theme in self.themes]),
            element("projectMetadata", {}, [element("title", text=self.title), element("abstract", text=self.about)]),
            element("Layouts", {}, self.layouts),
            element(
                "ProjectViewSettings",
                {"UseProjectScales": 0, "rotation": 0},
                [element("DefaultViewExtent", extent, [spatial_reference(self.crs)])],
            ),
        ]
        return document(element("qgis", {"projectname": self.title, "version": QGIS}, parts))

    def packed(self, stem: str) -> bytes:
        """The ``.qgz``; the same project gives the same bytes.

        Args:
            stem: Name of the file without its suffix, which the project in it has too.
        """
        archive = BytesIO()
        with ZipFile(archive, "w", ZIP_DEFLATED) as packed:
            entry = ZipInfo(f"{stem}.qgs")  # dated 1980
            entry.compress_type = ZIP_DEFLATED
            packed.writestr(entry, self.text())
        return archive.getvalue()

    def _canvas(self, extent: dict[str, float]) -> Element:
        unit = "degrees" if self.crs.is_geographic else "meters"
        return element(
            "mapcanvas",
            {"name": "theMapCanvas", "annotationsVisible": 1},
            [
                element("units", text=unit),
                element("extent", {}, [element(name, text=repr(value)) for name, value in extent.items()]),
                element("rotation", text=0),
                element("destinationsrs", {}, [spatial_reference(self.crs)]),
                element("rendermaptile", text=0),
            ],
        )

    def _theme(self, theme: Theme) -> Element:
        shown = [
            element("layer", {"id": layer.id, "visible": 1, "style": "", "expanded": int(layer.expanded)})
            for layer in self.layers
            if layer.key in theme.keys
        ]
        return element("visibility-preset", {"name": theme.name}, shown)


def layer_tree(groups: Iterable[Group], *, headings: bool = True) -> Element:
    """Groups as a tree, for the project and for the legend of a page.

    Args:
        groups: The groups.
        headings: Whether the groups' names appear.
    """
    root = element("layer-tree-group", {}, [element("customproperties")])
    for group in groups:
        into = root
        if group.name and headings:
            into = element("layer-tree-group", {"name": group.name, "checked": _CHECKED[True], "expanded": 1})
            into.append(element("customproperties"))
            root.append(into)
        into.extend(_leaf(layer) for layer in group.layers)
    return root


def spatial_reference(crs: pyproj.CRS) -> Element:
    """A CRS with all that QGIS wants: its text, PROJ's, and its number where it has one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # PROJ's short text loses some, so the long one stands beside it
        short = crs.to_proj4()
    authority = crs.to_authority() or ("", "0")
    number = authority[1] if authority[1].isdigit() else "0"
    parts = {
        "wkt": crs.to_wkt(),
        "proj4": short,
        "srsid": number,
        "srid": number,
        "authid": ":".join(authority) if authority[0] else "",
        "description": crs.name,
        "projectionacronym": "longlat" if crs.is_geographic else _acronym(short),
        "ellipsoidacronym": "",
        "geographicflag": str(crs.is_geographic).lower(),
    }
    return element("spatialrefsys", {}, [element(name, text=value) for name, value in parts.items()])


def _acronym(proj4: str) -> str:
    return next((word.removeprefix("+proj=") for word in proj4.split() if word.startswith("+proj=")), "")


def _leaf(layer: Layer) -> Element:
    kept = []
    if layer.entries is not None:
        order = ",".join(map(str, layer.entries)) or "empty"
        kept = [element("Option", {"name": "legend/node-order", "type": "QString", "value": order})]
    return element(
        "layer-tree-layer",
        {
            "id": layer.id,
            "name": layer.name,
            "source": layer.source,
            "providerKey": layer.provider,
            "checked": _CHECKED[layer.visible],
            "expanded": int(layer.expanded),
        },
        [element("customproperties", {}, [element("Option", {"type": "Map"}, kept)])],
    )
