"""report.html: one file that needs no network, from the report's content and the layers of its map.

Everything that comes from data is escaped by the template engine. A content security policy in the page names the one
script by its hash and forbids every request, so that even a fault here could neither run a script nor call home.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

from geoseg.report.chart import chart_geometry
from geoseg.report.fieldmap import MapLayer
from geoseg.report.mapdraw import Frame
from geoseg.report.wording import length

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["map_content", "render_page", "template_hash"]

_FILES = ("report.html.jinja", "report.css", "report.js")


def map_content(frame: Frame, layers: Sequence[MapLayer], crs: str, *, nominal: bool) -> dict[str, Any]:
    """What the report says of its map, without the pictures.

    Args:
        frame: What the map shows.
        layers: Its layers.
        crs: Coordinate system of the frame.
        nominal: Whether the place on the ground is not known; then the map has no coordinates and no north.
    """
    width, height = frame.size
    left, top = frame.origin
    return {
        "crs": crs,
        "nominal": nominal,
        "left_m": left,
        "top_m": top,
        "unit_m": frame.unit_m,
        "width": width,
        "height": height,
        "width_m": width * frame.unit_m,
        "height_m": height * frame.unit_m,
        "width_text": length(width * frame.unit_m),
        "height_text": length(height * frame.unit_m),
        "layers": [
            {
                "name": layer.name,
                "label": layer.label,
                "kind": layer.kind,
                "count": layer.count,
                "count_text": _counted(layer),
                "shown": layer.shown,
                "opacity": layer.opacity,
                "drawn": "picture" if layer.picture else "vectors",
                "legend": [{"color": color, "label": label} for color, label in layer.keys],
            }
            for layer in layers
        ],
    }


def render_page(content: Mapping[str, Any], layers: Sequence[MapLayer]) -> str:
    """The page.

    Args:
        content: What ``report.json`` holds, ``map`` included.
        layers: The layers of the map, in its order.
    """
    import jinja2
    from markupsafe import Markup

    files = {name: _read(name) for name in _FILES}
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["coded"] = _coded
    script = files["report.js"].strip()
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    return environment.from_string(files["report.html.jinja"]).render(
        report=content,
        layers=layers,
        geometry=chart_geometry,
        style=Markup(files["report.css"]),
        script=Markup(script),
        script_hash=digest,
    )


def _counted(layer: MapLayer) -> str:
    """What stands behind the name of a layer: how many features, or what its one colour says."""
    if layer.name == "prescription" or layer.count in (None, 1):
        return ", ".join(label for _, label in layer.keys) if layer.name == "prescription" else ""
    return f"({layer.count:,}{'' if layer.picture is None else '; ' + layer.keys[0][1]})"


def _coded(text: object) -> Markup:
    """A text, escaped, with what stands between backticks as code."""
    from markupsafe import Markup, escape

    parts = str(text).split("`")
    if len(parts) % 2 == 0:
        return escape(str(text))
    pieces = (Markup("<code>{}</code>").format(part) if nth % 2 else escape(part) for nth, part in enumerate(parts))
    return Markup("").join(pieces)


def template_hash() -> str:
    """Tells one version of the page from another."""
    return hashlib.sha256("".join(_read(name) for name in _FILES).encode("utf-8")).hexdigest()[:16]


def _read(name: str) -> str:
    return resources.files("geoseg.report").joinpath("templates", name).read_text(encoding="utf-8")
