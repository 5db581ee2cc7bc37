"""Sphinx: the site of these pages. Built without network; every warning is an error (`make docs`)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from geoseg import __version__

project = "geoseg"
author = "The geoseg developers"
copyright = author  # noqa: A001 - Sphinx asks for this name
release = version = __version__

extensions = [
    "myst_parser",  # the pages are Markdown
    "sphinx.ext.autodoc",  # API from docstrings
    "sphinx.ext.napoleon",  # which are in Google style
    "sphinx_click",  # command line from the commands themselves
]
root_doc = "index"
exclude_patterns = ["_build", "README.md"]  # README.md is the table of contents where there is no site
nitpicky = True
nitpick_ignore_regex = [("py:.*", r".*")]  # types of other libraries need their inventories, which need a network

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
myst_links_external_new_tab = False

default_role = "code"  # `name` in a docstring
autodoc_mock_imports = ["openvino", "safetensors", "torch"]
python_maximum_signature_line_length = 90
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False  # types stand in the signature
napoleon_custom_sections = [("Reference", "notes")]

html_theme = "furo"
html_title = f"geoseg {version}"
html_static_path = ["_static"]
html_css_files = ["geoseg.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#00734f", "color-brand-content": "#00734f"},
    "dark_css_variables": {"color-brand-primary": "#35c795", "color-brand-content": "#35c795"},
}


PAGES = Path(__file__).resolve().parent


def outside(_app: Any, _page: str, source: list[str]) -> None:
    """Files of the checkout that the pages link to, but that are no pages, are only named."""
    source[0] = re.sub(r"\[([^\]]+)\]\(\.\./[^)]*\)", r"\1", source[0])


def patterns(_app: Any, page: str, source: list[str]) -> None:
    """Patterns in the table of contents that match no page are left out; Sphinx would warn of them."""
    if page == root_doc:
        lines = source[0].splitlines(keepends=True)
        source[0] = "".join(
            line for line in lines if not re.match(r"[\w/]*\*$", line) or any(PAGES.glob(f"{line.strip()}.md"))
        )


def setup(app: Any) -> None:
    """Hooks of this configuration."""
    app.connect("source-read", outside)
    app.connect("source-read", patterns)
