"""What we write, readers of other people read the same; and what the page says about it is what was found."""

from __future__ import annotations

import pytest

from export_readers import NOT_HERE, PAGE, READERS, agrees, expected_sums, missing, readers_of
from geoseg import export
from spray_helpers import plan_of_two_spots

pytestmark = pytest.mark.filterwarnings("ignore::geoseg.errors.GeosegWarning")  # the coarse cells of XAG

PAIRS = [(name, reader) for name in export.profile_names() for reader in readers_of(export.read_profile(name))]


@pytest.fixture(scope="module")
def prescription(tmp_path_factory):
    return plan_of_two_spots(tmp_path_factory.mktemp("spots"))


@pytest.fixture(scope="module")
def written(prescription, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return {name: (folder / name, export.write(prescription, folder / name, name)) for name in export.profile_names()}


@pytest.fixture(scope="module")
def gone():
    return {reader: missing(reader) for reader in READERS}


@pytest.mark.parametrize(("name", "reader"), PAIRS, ids=[f"{name}-{reader}" for name, reader in PAIRS])
def test_another_reader_adds_up_to_the_same(written, gone, name, reader):
    if gone[reader]:
        pytest.skip(gone[reader])
    folder, export_ = written[name]
    report = export.check(folder, export_.plan, profile=name)
    found = READERS[reader][1](folder, export.read_profile(name), export_.plan)
    assert agrees(found, report), (found, expected_sums(report))
    wrong = found[0] * 1.01, found[1]
    assert not agrees(wrong, report)


def test_every_format_has_a_reader_of_other_people():
    for name in export.profile_names():
        assert list(readers_of(export.read_profile(name))), name


def test_the_page_has_a_line_for_each_profile_and_no_doubt():
    block = PAGE.read_text(encoding="utf-8").partition("<!-- readers -->")[2].partition("<!-- end -->")[0]
    rows = [line for line in block.splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == list(export.profile_names())
    assert all("| whole |" in row for row in rows)
    assert "DIFFERS" not in block
    assert NOT_HERE not in block
