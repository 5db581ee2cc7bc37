"""The ledger: what it holds after good and bad endings."""

from __future__ import annotations

import numpy as np
import pytest

from geoseg.errors import ConfigError
from geoseg.segment.blocks import BlockStore, fingerprint
from geoseg.windows import Rect

SHAPE, BLOCK = (100, 130), 64
PIXELS = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)


def store_in(tmp_path, **parts):
    return BlockStore(tmp_path / "blocks", SHAPE, BLOCK, {"model": "a"} | parts)


def test_a_block_reads_back_as_it_was_saved(tmp_path):
    store = store_in(tmp_path)
    block = next(iter(store))
    store.save(block, PIXELS, PIXELS.T)
    classes, confidence = store_in(tmp_path).load(block)
    np.testing.assert_array_equal(classes, PIXELS)
    np.testing.assert_array_equal(confidence, PIXELS.T)


def test_the_summary_counts_every_ending(tmp_path):
    store = store_in(tmp_path)
    first, second, third, *rest = store
    store.save(first, PIXELS, PIXELS)
    store.save_empty(second)
    store.save_failed(third, "disk on fire")
    summary = store.summary()
    assert (summary.total, summary.done, summary.empty, summary.pending) == (6, 1, 1, 3)
    assert list(summary.failed.values()) == ["disk on fire"]
    assert list(store.pending()) == [third, *rest]


def test_success_after_failure_clears_the_failure(tmp_path):
    store = store_in(tmp_path)
    block = next(iter(store))
    store.save_failed(block, "no")
    store.save(block, PIXELS, PIXELS)
    assert store.summary().failed == {}


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty"])
def test_a_damaged_block_is_done_again(tmp_path, damage):
    store = store_in(tmp_path)
    block = next(iter(store))
    store.save(block, np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8), PIXELS)
    (path,) = store.folder.glob("*.npz")
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 3] ^= 0xFF
    path.write_bytes({"truncate": bytes(content[:-200]), "flip": bytes(content), "empty": b""}[damage])
    assert store.drop_corrupt() == 1
    assert block in store.pending()


def test_other_work_in_the_folder_is_refused_by_the_name_of_what_differs(tmp_path):
    store_in(tmp_path, boundary="x")
    with pytest.raises(ConfigError, match="another boundary;"):
        store_in(tmp_path, boundary="y")


def test_the_fingerprint_sees_values_and_not_their_order():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})


def test_block_names_tell_their_place(tmp_path):
    store = store_in(tmp_path)
    store.save_empty(Rect(64, 128, 100, 130))
    assert (store.folder / "r0000064_c0000128.empty").exists()
