"""The ledger: what it holds after good and bad endings."""

from __future__ import annotations

import errno
import json

import numpy as np
import pytest

from geoseg.durable import full_disk
from geoseg.errors import ConfigError, RunError
from geoseg.segment.blocks import BlockStore, CorruptBlockError, fingerprint
from geoseg.segment.layers import CLASSES, CONFIDENCE
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


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "digest", "length", "longer", "other shape"])
def test_a_damaged_block_is_an_error_and_then_pending(tmp_path, damage):
    store = store_in(tmp_path)
    block = next(iter(store))
    store.save(block, np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8), PIXELS)
    (path,) = store.folder.glob("*.block")
    content = bytearray(path.read_bytes())
    if damage in ("flip", "digest", "length"):
        content[{"flip": len(content) // 3, "digest": 3, "length": 17}[damage]] ^= 0x01
    if damage == "longer":
        content += b"x"
    if damage == "other shape":
        store.save(block, PIXELS[:5], PIXELS[:5])
        content = path.read_bytes()
    path.write_bytes({"truncate": bytes(content[:-200]), "empty": b""}.get(damage, bytes(content)))
    assert block not in store.pending()
    with pytest.raises(CorruptBlockError, match="was removed"):
        store.load(block)
    assert block in store.pending()


def test_a_layer_is_read_and_checked_without_the_others(tmp_path):
    store = store_in(tmp_path)
    block = next(iter(store))
    store.save(block, PIXELS, PIXELS.T)
    (path,) = store.folder.glob("*.block")
    content = bytearray(path.read_bytes())
    content[-1] ^= 0x01
    path.write_bytes(content)
    (found,) = store.load(block, CLASSES)
    np.testing.assert_array_equal(found, PIXELS)
    with pytest.raises(CorruptBlockError):
        store.load(block, CONFIDENCE)
    assert block in store.pending()


def test_layers_come_in_the_order_in_which_they_are_asked_for(tmp_path):
    store = store_in(tmp_path)
    block = next(iter(store))
    store.save(block, PIXELS, PIXELS.T)
    confidence, classes = store.load(block, CONFIDENCE, CLASSES)
    np.testing.assert_array_equal(classes, PIXELS)
    np.testing.assert_array_equal(confidence, PIXELS.T)


def test_blocks_of_another_format_are_refused(tmp_path):
    store = store_in(tmp_path)
    key = json.loads((store.folder / "key.json").read_text())
    del key["block format"]  # as the first version wrote it
    (store.folder / "key.json").write_text(json.dumps(key))
    with pytest.raises(ConfigError, match="another block format; .* --fresh"):
        store_in(tmp_path)


def test_a_block_that_was_not_done_is_no_hole(tmp_path):
    store = store_in(tmp_path)
    with pytest.raises(RunError, match="has not been done"):
        store.load(next(iter(store)))


def test_a_block_that_is_done_after_all_is_not_failed(tmp_path):
    store = store_in(tmp_path)
    block = next(iter(store))
    store.save(block, PIXELS, PIXELS)
    store.save_failed(block, "killed before this note was removed")
    assert (store.summary().done, store.summary().failed) == (1, {})
    np.testing.assert_array_equal(store.load(block)[0], PIXELS)


def test_blocks_without_a_key_are_of_unknown_origin_and_go(tmp_path):
    store = store_in(tmp_path)
    store.save(next(iter(store)), PIXELS, PIXELS)
    (store.folder / "key.json").unlink()
    assert store_in(tmp_path, model="b").summary().done == 0
    assert [path.name for path in tmp_path.iterdir()] == ["blocks"]


def test_a_full_disk_is_named_and_leaves_no_draft(tmp_path, monkeypatch):
    store = store_in(tmp_path)
    first, second, *_ = store
    store.save(first, PIXELS, PIXELS)

    def full(path, content):
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(RunError, match=r"the disk of .*blocks does not take .* MB free.*run the same command again"):
        store.save(second, PIXELS, PIXELS)
    monkeypatch.undo()
    assert store.summary().done == 1
    assert len(list(store.folder.iterdir())) == 2


def test_other_errors_are_no_full_disk(tmp_path):
    with pytest.raises(PermissionError), full_disk(tmp_path):
        raise PermissionError(errno.EACCES, "no")


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
