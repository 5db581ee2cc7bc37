"""How the attributes of a layer are shown: names for people, checkboxes, the order of the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from geoseg.qgis.xml import Element, element

__all__ = ["Form"]


@dataclass(frozen=True)
class Form:
    """Attributes in tables and forms.

    Attributes:
        aliases: Name for people by column, in the order of the layer.
        checkboxes: Columns of 0 and 1 that are ticked.
        sort_by: Expression by which the table is sorted, ascending.
        display: Expression that names a feature.
    """

    aliases: Mapping[str, str]
    checkboxes: Sequence[str]
    sort_by: str
    display: str

    def elements(self) -> list[Element]:
        """Its part of a style."""
        aliases = [
            element("alias", {"field": field, "index": index, "name": name})
            for index, (field, name) in enumerate(self.aliases.items())
        ]
        table = {"actionWidgetStyle": "dropDown", "sortExpression": self.sort_by, "sortOrder": 0}
        return [
            element("fieldConfiguration", {}, [_checkbox(field) for field in self.checkboxes]),
            element("aliases", {}, aliases),
            element("attributetableconfig", table),
            element("previewExpression", text=self.display),
        ]


def _checkbox(field: str) -> Element:
    said = {"CheckedState": "1", "UncheckedState": "0"}
    options = [element("Option", {"name": name, "type": "QString", "value": value}) for name, value in said.items()]
    config = element("config", {}, [element("Option", {"type": "Map"}, options)])
    return element("field", {"name": field}, [element("editWidget", {"type": "CheckBox"}, [config])])
