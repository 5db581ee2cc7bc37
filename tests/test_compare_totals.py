from __future__ import annotations

import dataclasses

import pyogrio
import pytest

from geoseg.errors import CheckError
from geoseg.export import check, write
from geoseg.spray import SprayConfig
from geoseg.spray.prescription import plan
from geoseg.spray.totals import with_amounts
from spray_helpers import plan_of_two_spots, rectangle


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """Two spots for a boom with a small tank and a dose."""
    folder = tmp_path_factory.mktemp("plan")
    plan_of_two_spots(folder)
    config = SprayConfig(machine="boom_24m_sections", heading_deg=27, dose_per_ha=1.5, dose_unit="l")
    found = plan(folder / "classes.tif", rectangle(30, 40), config)
    totals = dataclasses.replace(found.totals, tank_litres=1.0, residual_litres=0.25)
    return dataclasses.replace(
        found, totals=with_amounts(totals, treated_ha=totals.treated_ha, litres=totals.litres, zones=totals.zones)
    )


@pytest.mark.parametrize("profile", ["generic", "isoxml", "dji"])
def test_product_tank_and_savings_are_added_up_from_the_file(tmp_path, planned, profile):
    write(planned, tmp_path, profile)
    report = check(tmp_path, planned)
    facts = next(file.facts for file in report.files if "litres" in file.facts)
    assert facts["product"] == pytest.approx(facts["litres"] * 1.5 / 200)
    assert facts["product_unit"] == "l"
    assert facts["tank_fills"] == -(-(facts["litres"] + 0.25) // 1)
    assert facts["last_fill_litres"] == pytest.approx(facts["litres"] + 0.25 - (facts["tank_fills"] - 1))
    assert facts["saved_percent"] == pytest.approx(100 * (1 - facts["litres"] / planned.totals.broadcast_litres))
    assert facts["commanded_by_mapped"] == pytest.approx(facts["treated_ha"] / planned.totals.triggered_ha)
    text = (tmp_path / "README.txt").read_text()
    assert f"product             {planned.totals.product:.2f} l" in text
    assert f"tank                {planned.totals.tank_fills} fills" in text


def test_amounts_follow_litres(planned):
    half = with_amounts(planned.totals, treated_ha=0.01, litres=planned.totals.litres / 10, zones=3)
    assert half.product == pytest.approx(planned.totals.product / 10)
    assert half.tank_fills < planned.totals.tank_fills
    assert (half.zones, half.treated_ha) == (3, 0.01)
    assert half.saved_percent == pytest.approx(100 - (100 - planned.totals.saved_percent) / 10)


@pytest.mark.parametrize(("percent", "fails"), [(0.05, False), (0.2, True), (-0.2, True)])
def test_a_thousandth_of_the_product_fails_the_export(tmp_path, planned, percent, fails):
    write(planned, tmp_path, "generic")
    other = dataclasses.replace(planned.totals, product=planned.totals.product * (1 + percent / 100))
    wrong = dataclasses.replace(planned, totals=other)
    report = check(tmp_path, wrong, strict=False)
    assert report.codes == (("product",) if fails else ())
    if fails:
        with pytest.raises(CheckError, match=r"product is .* in the file and .* in the plan"):
            check(tmp_path, wrong)


def test_a_file_with_other_litres_fails_also_in_its_product(tmp_path, planned):
    write(planned, tmp_path, "generic")
    (shape,) = tmp_path.rglob("*.shp")
    frame = pyogrio.read_dataframe(shape)
    column = next(name for name in frame.columns if name.upper().startswith("RATE"))
    frame.loc[frame[column] > 0, column] = 199.0
    frame.to_file(shape)
    assert {"litres", "product"} <= set(check(tmp_path, planned, strict=False).codes)
