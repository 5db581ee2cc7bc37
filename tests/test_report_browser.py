"""The report in a real browser: silent, offline, its map moves and switches, readable by all, on paper too.

Needs Chromium on the path (Debian: apt install chromium) and the packages of the extra `test`; skipped without them.
"""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from PIL import Image

from test_job import done, field

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

__all__ = ["done", "field"]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the path")
DESKTOP = {"viewport": {"width": 1280, "height": 900}}
PHONE = {"viewport": {"width": 375, "height": 812}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as library:
        opened = library.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def show(browser, done) -> Iterator[Any]:
    """Opens the report as asked for; whatever it says on the console or asks of the network fails the test."""
    contexts, said = [], []
    address = (done.path / "report.html").resolve().as_uri()

    def shown(**options: Any) -> Any:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url) if not request.url.startswith("data:") else None)
        page.goto(address)
        return page

    yield shown
    for context in contexts:
        context.close()
    assert set(said) == {address}


def view_box(page: Any) -> list[float]:
    return [float(value) for value in page.get_attribute("#view", "viewBox").split()]


def wait_for_width(page: Any, most: float) -> None:
    """Wait until the map shows no more than this; the page's own policy forbids Playwright's way of waiting."""
    for _ in range(100):
        if view_box(page)[2] < most:
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"the map still shows {view_box(page)}")


def picture(page: Any) -> np.ndarray:
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return np.asarray(Image.open(io.BytesIO(page.locator("#view").screenshot())).convert("RGB"), np.int16)


def changed(one: np.ndarray, other: np.ndarray) -> int:
    """Number of pixels that are clearly another colour."""
    return int((np.abs(one - other).max(axis=-1) > 24).sum())


def test_every_layer_switches(show):
    page = show(**DESKTOP)
    names = [box.get_attribute("value") for box in page.locator(".layer input[type=checkbox]").all()]
    assert set(names) >= {"ortho", "classes", "prescription", "weeds", "plants", "weed_plants", "boundary"}
    for name in names:
        before = picture(page)
        page.locator(f"#layer-{name}").click()
        assert changed(picture(page), before) > 20, name
        page.locator(f"label:has(#layer-{name}) span").click()  # the label works too
        assert changed(picture(page), before) == 0, name


def test_the_opacity_of_a_layer_follows_its_slider(show):
    page = show(**DESKTOP)
    before = picture(page)
    page.locator("input[data-layer=prescription]").fill("100")
    assert page.locator("#map-prescription").evaluate("layer => layer.style.opacity") == "1"
    assert changed(picture(page), before) > 1000


def test_keys_buttons_and_wheel_zoom(show):
    page = show(**DESKTOP)
    whole = view_box(page)
    box = page.locator("#view").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 4)
    page.mouse.wheel(0, -200)
    assert view_box(page) == whole  # a page that is scrolled through is not caught by its map
    assert "Click the map first" in page.inner_text("#hint")
    page.focus("#view")
    page.keyboard.press("+")
    assert view_box(page)[2] == pytest.approx(whole[2] / 1.5, rel=1e-3)
    near = view_box(page)
    page.keyboard.press("ArrowRight")
    assert view_box(page)[0] > near[0]
    page.keyboard.press("0")
    assert view_box(page) == whole
    page.click("#zoom-in")
    assert view_box(page)[2] < whole[2]
    page.click("#zoom-whole")
    page.focus("#view")
    box = page.locator("#view").bounding_box()  # the page may have scrolled to show it
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 4)
    page.mouse.wheel(0, -300)
    wait_for_width(page, 0.9 * whole[2])
    left, top, width, height = view_box(page)
    for place, size, first, all_ in ((left, width, whole[0], whole[2]), (top, height, whole[1], whole[3])):
        assert place + size / 4 == pytest.approx(first + all_ / 4, abs=0.01 * all_)  # what was under the mouse still is


def test_the_mouse_drags_and_reads_coordinates(show):
    page = show(**DESKTOP)
    page.click("#zoom-in")
    before, box = view_box(page), page.locator("#view").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y + 30)
    page.mouse.up()
    after, scale = view_box(page), before[2] / box["width"]
    assert after[0] == pytest.approx(before[0] - 60 * scale, abs=2)
    assert after[1] == pytest.approx(before[1] - 30 * scale, abs=2)
    east, north = map(float, re.findall(r"\d+\.\d+", page.inner_text("#where")))
    assert 500000 < east < 500010
    assert 5400000 - 8 < north < 5400000


def test_the_scale_bar_is_true(show):
    page = show(**DESKTOP)
    for _ in range(3):
        metres = page.evaluate(
            "() => document.querySelector('#scale .bar').getBoundingClientRect().width"
            " * document.getElementById('view').viewBox.baseVal.width / document.getElementById('view').clientWidth"
            " * JSON.parse(document.getElementById('map-data').textContent).unit_m"
        )
        number, unit = page.text_content("#scale text").split()
        # The rectangle on the screen has half a line on both sides.
        assert metres == pytest.approx(float(number) * {"m": 1, "cm": 0.01}[unit], rel=0.05)
        page.click("#zoom-in")


def test_two_fingers_zoom_and_one_scrolls_the_page(show):
    page = show(**PHONE)
    page.locator("#view").scroll_into_view_if_needed()
    whole, box = view_box(page), page.locator("#view").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    session = page.context.new_cdp_session(page)

    def touch(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": left, "y": top, "id": nth} for nth, (left, top) in enumerate(places)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", (x - 20, y), (x + 20, y))
    for step in range(1, 7):
        touch("touchMove", (x - 20 - 10 * step, y), (x + 20 + 10 * step, y))
    touch("touchEnd")
    wait_for_width(page, whole[2] / 2.5)
    assert page.locator("#view").evaluate("view => getComputedStyle(view).touchAction") == "none"
    page.click("#zoom-whole")
    assert page.locator("#view").evaluate("view => getComputedStyle(view).touchAction") == "pan-y"


@pytest.mark.parametrize("options", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_the_page_is_as_wide_as_the_screen(show, options):
    page = show(**options)
    assert page.evaluate("document.documentElement.scrollWidth") == options["viewport"]["width"]
    assert page.locator("#view").bounding_box()["height"] < options["viewport"]["height"]


@pytest.mark.parametrize(
    "options", [DESKTOP, DESKTOP | {"color_scheme": "dark"}, PHONE], ids=["light", "dark", "phone"]
)
def test_axe_finds_nothing(show, options):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = show(**options)
    found = axe.Axe().run(page)
    assert [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in found.response["violations"]] == []
    assert len(found.response["passes"]) > 20


def test_axe_would_find_something(show):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = show(**DESKTOP)
    page.evaluate("document.querySelector('dt').style.color = '#bbb'; document.documentElement.lang = ''")
    found = {one["id"] for one in axe.Axe().run(page).response["violations"]}
    assert {"color-contrast", "html-has-lang"} <= found


def test_everything_is_reached_by_the_keyboard_and_seen(show):
    page = show(**DESKTOP)
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            "() => { const on = document.activeElement;"
            " return [on.id || on.dataset.layer || on.tagName, getComputedStyle(on).outlineStyle]; }"
        )
        assert name == "BODY" or outline == "solid", name
        reached.add(name)
    assert {"view", "zoom-in", "zoom-out", "zoom-whole", "layer-ortho", "ortho", "layer-weeds"} <= reached


def test_headings_are_in_order(show):
    levels = show(**DESKTOP).evaluate("[...document.querySelectorAll('h1,h2,h3')].map(one => +one.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_paper_gets_a_few_light_pages(show):
    page = show(**DESKTOP, color_scheme="dark")
    content = page.pdf(prefer_css_page_size=True)
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 6
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("#zoom-in").is_visible()
    assert page.locator("label:has(#layer-prescription)").is_visible()
    assert not page.locator("label:has(#layer-plants)").is_visible()


def test_without_scripts_the_map_stands_and_the_figures_are_there(browser, done):
    context = browser.new_context(java_script_enabled=False, **DESKTOP)
    page = context.new_page()
    page.goto((done.path / "report.html").resolve().as_uri())
    assert page.locator("#view").bounding_box()["height"] > 300
    assert not page.locator("#zoom-in").is_visible()
    assert page.locator("[data-figure=litres]").first.is_visible()
    context.close()
