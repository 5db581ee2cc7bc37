"""Stage `rows`: field.gpkg -> crop rows, its layers rows and gaps, each plant's place in its row."""

from __future__ import annotations

from geoseg.config import Config, to_dict
from geoseg.progress import bar
from geoseg.results import FIELD
from geoseg.rundir import RunDirectory

__all__ = ["rows_stage"]


def rows_stage(directory: RunDirectory, config: Config) -> None:
    """Find the rows from the plants of the run's package, and write them beside these."""
    from geoseg.export.rowlayers import read_plants, write_rows
    from geoseg.segment.rows import find_rows
    from geoseg.segment.stand import find_gaps, row_stand
    from geoseg.segment.standfacts import RowTotals, row_facts, stand_facts

    first = directory.facts("segment")
    with directory.stage("rows", {"vectorize": directory.key("vectorize"), "rows": to_dict(config.rows)}) as stage:
        if stage.done:
            return
        directory.supersede("rows")
        with bar("rows", 3, "step") as progress:
            points = read_plants(directory / FIELD)
            progress.update()
            rows = find_rows(points.x, points.y, points.area_m2, config.rows)
            stand = row_stand(rows.plants, rows.table, config.rows.gap_factor)
            gaps = find_gaps(rows.plants, stand, config.rows.gap_factor)
            progress.update()
            write_rows(directory / FIELD, points.fid, rows.plants, rows.table, stand, gaps, first["field"]["crs"])
            progress.update()
        seen_m2 = sum(entry["area_m2"] for entry in first["classes"].values())
        stage.facts["rows"] = row_facts(rows.model)
        steps = rows.plants.next_m[rows.plants.next_m > 0]
        lengths = float(rows.table.length_m.sum()), len(gaps.row_id), float(gaps.length_m.sum())
        totals = RowTotals(len(rows.table.row_id), *lengths, int(gaps.missing.sum()))
        stage.facts["stand"] = stand_facts(points.x, points.y, seen_m2, steps, totals, error=first.get("count_error"))
        stage.facts["stand"]["weed_plants"] = directory.facts("vectorize")["weed_plants"]["kept"]
        stage.outputs.append(directory / FIELD)
