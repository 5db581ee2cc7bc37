"""Nothing in the code works on POSIX only: found by reading it, so that it fails here and not on somebody's Windows."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from geoseg import durable
from geoseg.durable import usable_name

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted([*(ROOT / "geoseg").rglob("*.py"), *(ROOT / "tiles").glob("*.py"), *(ROOT / "docs").glob("*.py")])

MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
IN_OS = {
    *(
        "fork",
        "forkpty",
        "kill",
        "killpg",
        "getuid",
        "geteuid",
        "getgid",
        "getpgid",
        "setsid",
        "nice",
        "mkfifo",
        "uname",
    ),
    *("sched_getaffinity", "sched_setaffinity", "statvfs", "sysconf", "sysconf_names", "wait", "waitpid", "system"),
    *("symlink", "link", "chown", "rename", "getloadavg", "openpty", "pread", "pwrite", "posix_fadvise", "O_DIRECT"),
}
SIGNALS = {"SIGALRM", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGSTOP", "SIGUSR1", "SIGUSR2", "alarm", "setitimer"}
PLACES = ("/tmp", "/proc", "/sys/", "/dev/", "/var/", "/usr/", "/etc/", "/home/", "~/")
ASKS_FIRST = {"geoseg/host.py"}
"""Modules whose business it is to know the system; they are tested without those files."""


def findings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, what) of everything in a module that only POSIX has or that depends on the system's encoding."""
    guarded = set(_guarded(tree))
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from ((node.lineno, f"import {name}") for name in names if name in MODULES)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "os" and node.attr in IN_OS:
                yield node.lineno, f"os.{node.attr}"
            if node.value.id == "signal" and node.attr in SIGNALS:
                yield node.lineno, f"signal.{node.attr}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(PLACES):
            yield node.lineno, f"the path {node.value!r}"
        elif isinstance(node, ast.Call):
            yield from ((node.lineno, what) for what in _calls(node))


def _guarded(tree: ast.AST) -> Iterator[int]:
    """Ids of the nodes that are only reached where the system has what they need."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Try):
            caught = {name.id for handler in node.handlers for name in ast.walk(handler) if isinstance(name, ast.Name)}
            if "ImportError" in caught:
                yield from (id(inner) for part in node.body for inner in ast.walk(part))
        if isinstance(node, ast.If | ast.IfExp) and any(_asks(inner) for inner in ast.walk(node.test)):
            parts = node.body if isinstance(node.body, list) else [node.body]
            yield from (id(inner) for part in parts for inner in ast.walk(part))


def _asks(node: ast.AST) -> bool:
    """Whether an expression asks what the system has."""
    if isinstance(node, ast.Call):
        return getattr(node.func, "id", "") in ("hasattr", "getattr")
    return isinstance(node, ast.Attribute) and node.attr == "platform"


def _calls(node: ast.Call) -> Iterator[str]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    given = {word.arg: word.value for word in node.keywords}
    texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    if name in ("read_text", "write_text") and "encoding" not in given:
        yield f"{name} without encoding"
    if name == "open" and "encoding" not in given and _opens_text(node, texts, given):
        yield "open without encoding"
    if isinstance(getattr(given.get("text"), "value", None), bool) and "encoding" not in given:
        yield "text of a process without encoding"
    if isinstance(getattr(given.get("shell"), "value", None), bool):
        yield "shell"
    if name == "get_context" and "fork" in texts:
        yield "fork"
    if name == "strftime" and any("%-" in text or "%s" in text for text in texts):
        yield "strftime that only some systems know"
    if name in ("symlink_to", "hardlink_to", "chmod", "mkfifo"):
        yield name


def _opens_text(node: ast.Call, texts: list[str], given: dict[str | None, ast.expr]) -> bool:
    """Whether a call of something named open opens a text file, as far as can be seen."""
    if isinstance(node.func, ast.Name):
        return not any("b" in text for text in texts[1:]) and not isinstance(given.get("mode"), ast.Constant)
    library = getattr(node.func.value, "id", "") if isinstance(node.func, ast.Attribute) else ""
    return library != "rasterio" and texts[-1:] and texts[-1] in ("r", "w", "a", "x", "rt", "wt", "at", "r+", "w+")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_is_for_posix_only(path: Path) -> None:
    if path.relative_to(ROOT).as_posix() in ASKS_FIRST:
        return
    found = list(findings(ast.parse(path.read_text(encoding="utf-8"))))
    assert not found, "\n".join(f"{path}:{line}: {what}" for line, what in found)


BAD = {
    "import fcntl": "import fcntl",
    "import os\nos.fork()": "os.fork",
    "import os\nos.kill(1, 9)": "os.kill",
    "import os\nos.rename('a', 'b')": "os.rename",
    "import signal\nsignal.signal(signal.SIGALRM, print)": "signal.SIGALRM",
    "p.read_text()": "read_text without encoding",
    "p.write_text('ä')": "write_text without encoding",
    "open('x')": "open without encoding",
    "p.open('w')": "open without encoding",
    "q = '/tmp/geoseg'": "the path '/tmp/geoseg'",
    "run(['x'], text=True)": "text of a process without encoding",
    "run('x', shell=True)": "shell",
    "get_context('fork')": "fork",
    "now.strftime('%-d')": "strftime that only some systems know",
    "p.symlink_to(q)": "symlink_to",
}
GOOD = (
    "try:\n    import resource\nexcept ImportError:\n    pass",
    "import os\ncores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else 1",
    "import os, sys\nif sys.platform == 'linux':\n    os.nice(1)",
    "open('x', 'rb')",
    "p.open('rb')",
    "open('x', encoding='utf-8')",
    "p.read_text(encoding='utf-8')",
    "rasterio.open('x.tif', 'w', driver='GTiff')",
    "import os\nos.replace('a', 'b')",
)


@pytest.mark.parametrize("code", BAD)
def test_what_is_for_posix_only_is_seen(code: str) -> None:
    assert BAD[code] in [what for _, what in findings(ast.parse(code))]


@pytest.mark.parametrize("code", GOOD)
def test_what_works_everywhere_is_left_alone(code: str) -> None:
    assert list(findings(ast.parse(code))) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("field 7", "field 7"),
        ("Acker-Süd", "Acker-Süd"),
        ("aux", "aux_"),
        ("Con.tif", "Con_.tif"),
        ("s3:_bucket", "s3__bucket"),
        ("what?", "what_"),
        ("ends. ", "ends"),
        ("...", "_"),
        ("a/b\\c", "a_b_c"),
    ],
)
def test_names_are_good_on_every_system(name: str, expected: str) -> None:
    assert usable_name(name) == expected


def test_a_file_that_another_program_holds_open_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows a file that QGIS has open cannot be replaced; here the system's refusal is played."""
    from geoseg.errors import RunError

    (tmp_path / "draft.tif").write_bytes(b"new")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "The process cannot access the file because it is being used by another process")

    monkeypatch.setattr(durable.os, "replace", refuse)
    with pytest.raises(RunError, match=r"classes\.tif cannot be replaced.*close it in QGIS"):
        durable.replace_file(tmp_path / "draft.tif", tmp_path / "classes.tif")
    (tmp_path / "blocks").mkdir()
    with pytest.raises(RunError, match=r"blocks cannot be replaced"):
        durable.remove_folder(tmp_path / "blocks")


def test_a_draft_takes_its_place_when_it_is_whole_and_leaves_nothing_otherwise(tmp_path: Path) -> None:
    file, folder = tmp_path / "map.png", tmp_path / "files"
    for content in ("first", "second"):
        with durable.drafted(file) as draft:
            draft.write_text(content)
            assert draft.suffix == ".png"
        with durable.drafted_folder(folder) as made:
            made.mkdir()
            (made / content).touch()
    with pytest.raises(KeyError), durable.drafted(file) as draft:
        draft.write_text("third")
        raise KeyError
    with pytest.raises(KeyError), durable.drafted_folder(folder) as made:
        made.mkdir()
        raise KeyError
    assert file.read_text() == "second"
    assert [path.name for path in folder.iterdir()] == ["second"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files", "map.png"]
