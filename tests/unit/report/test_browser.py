"""Test the page in headless Chromium.

It must not load anything, must work without errors, and must have no serious accessibility problem
according to axe-core. axe-core is an npm package: SELFATTN_AXE is the path of its axe.min.js
(`.ci/run` downloads it).
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

CHROMIUM, AXE = shutil.which("chromium"), os.environ.get("SELFATTN_AXE")
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
FLAGS.append("--disable-component-update")
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium here: apt-get install chromium"
)
needs_axe = pytest.mark.skipif(
    AXE is None,
    reason="no axe-core here: npm pack axe-core@4, unpack it, and SELFATTN_AXE=package/axe.min.js",
)


@pytest.fixture(scope="module")
def address(results, page_text):
    return results.layout.report.as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """Open the page on a desktop screen.

    A test fails if the console shows a message, or the page requests anything else.
    """
    opened = browser.new_page(viewport=DESK)
    messages: list[str] = []
    requests: list[str] = []
    opened.on("console", lambda message: messages.append(f"{message.type}: {message.text}"))
    opened.on("pageerror", lambda error: messages.append(str(error)))
    opened.on("request", lambda request: requests.append(request.url))
    opened.goto(address)
    yield opened
    opened.close()
    assert messages == []
    assert requests == [address]


def names(page: Page) -> list[str]:
    return page.locator("#motifs details[data-name]:visible .name b").all_inner_texts()


def test_motifs_are_sorted_and_searched(page):
    assert names(page) == ["motif_01", "motif_02", "motif_03"]
    for by, rows in (("odds ratio", ["02", "03"]), ("name", ["02", "03"])):
        page.get_by_label("sort by").select_option(by)
        # cards stay before rows
        assert names(page) == ["motif_01", *(f"motif_{row}" for row in rows)]
    for sought, name in (("ma1456", "motif_01"), ("none KNOWN", "motif_02")):
        page.get_by_label("Search motifs").fill(sought)
        assert names(page) == [name]
    assert page.locator("#motif-count").inner_text() == "1 of 3"


def test_motif_opens_its_tests(page):
    question = page.locator(".card dt").first
    assert not question.is_visible()
    page.locator(".card summary").first.click()
    assert question.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_theme(browser, address, scheme):
    page = browser.new_page(viewport=DESK, color_scheme=scheme)
    page.goto(address)
    colour = "getComputedStyle(document.body).backgroundColor"
    assert (page.evaluate(colour) == "rgb(255, 255, 255)") == (scheme == "light")
    page.close()


OVERFLOWING = """() => [...document.querySelectorAll("thead th")].filter(head => {
    const text = document.createRange();
    text.selectNodeContents(head);
    return text.getBoundingClientRect().right > head.getBoundingClientRect().right + 1;
}).map(head => head.textContent)"""


def test_tables_fit_a_desk_and_scroll_on_a_phone(page):
    cut = page.locator(".scroll").evaluate_all(
        "tables => tables.filter(each => each.scrollWidth > each.clientWidth).length"
    )
    assert cut == 0
    assert page.evaluate(OVERFLOWING) == []
    page.set_viewport_size(PHONE)
    assert page.evaluate(OVERFLOWING) == []
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    table = page.locator("#performance .scroll").first
    assert table.evaluate("table => { table.scrollLeft = 300; return table.scrollLeft }") == 300
    for cell in ("thead th", "tbody th"):  # the names of the rows stay visible
        left = "cell => cell.getBoundingClientRect().left - cell.closest('.scroll').offsetLeft"
        assert table.locator(cell).first.evaluate(left) == 0


def test_printed_page_is_short(page):
    """The style for print keeps the page short: figures are in three columns."""
    assert len(re.findall(rb"/Type\s*/Page\b", page.pdf())) <= 8


PIXELS = "canvas => canvas.toDataURL()"


def shown(page: Page) -> str:
    return page.locator(".map .shown").first.inner_text().partition(";")[0]


def box_of(canvas: Locator) -> tuple[float, float, float]:
    """Return left, top and width of the plot in px."""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    return box["x"] + 34, box["y"] + 8, box["width"] - 42


def test_a_map_is_zoomed_by_buttons_keys_and_wheel(page):
    complete = "positions 1 to 60 attend to positions 1 to 60"
    canvas = page.locator(".map canvas").first
    assert shown(page) == complete
    before = canvas.evaluate(PIXELS)
    page.get_by_role("button", name="zoom in").first.click()
    assert shown(page) == "positions 16 to 45 attend to positions 16 to 45"
    assert canvas.evaluate(PIXELS) != before
    page.get_by_role("button", name="reset").first.click()
    assert (shown(page), canvas.evaluate(PIXELS)) == (complete, before)

    canvas.press("+")
    canvas.press("ArrowLeft")
    canvas.press("ArrowUp")
    assert shown(page) == "positions 12 to 42 attend to positions 12 to 42"
    canvas.press("0")
    assert shown(page) == complete

    canvas.hover()
    page.mouse.wheel(0, -100)
    expect(page.locator(".map .shown").first).not_to_contain_text(complete)
    start, end = map(int, re.findall(r"attend to positions (\d+) to (\d+)", shown(page))[0])
    assert end - start + 1 in (48, 49)  # four fifths of 60 bp
    # The map has lost the focus, so the wheel scrolls the page
    page.get_by_role("button", name="reset").first.click()
    canvas.hover()
    page.evaluate(
        "() => { window.scrolled = new Promise(done => addEventListener('scroll', () => "
        "done(true), {once: true})) }"
    )
    page.mouse.wheel(0, 100)
    assert page.evaluate("window.scrolled")
    assert shown(page) == complete


def test_a_map_is_zoomed_by_two_fingers_and_moved_by_one(browser, address):
    context = browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(address)
    left, top, side = box_of(page.locator(".map canvas").first)
    touch = context.new_cdp_session(page)

    def fingers(kind: str, *positions: tuple[float, float]) -> None:
        points = [
            {"x": left + x * side, "y": top + y * side, "id": i}
            for i, (x, y) in enumerate(positions)
        ]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fingers("touchStart", (0.5, 0.5), (0.6, 0.5))
    for x in (0.65, 0.7):
        fingers("touchMove", (0.5, 0.5), (x, 0.5))
    fingers("touchEnd")
    # Fingers twice as far apart show half as many bp around the same centre
    assert shown(page) == "positions 16 to 45 attend to positions 16 to 45"
    fingers("touchStart", (0.5, 0.5))
    for y in (0.6, 0.65):
        fingers("touchMove", (0.5, y))
    fingers("touchEnd")
    assert shown(page) == "positions 11 to 41 attend to positions 16 to 45"
    context.close()


def test_map_shows_hovered_pair_and_changes_with_layer(page):
    canvas = page.locator(".map canvas").first
    left, top, side = box_of(canvas)
    # Column 3 and row 23 of 60, which is in the planted site
    page.mouse.move(left + 2 * side / 60, top + 22 * side / 60)
    hovered = page.locator(".map .pointed").first
    assert hovered.inner_text().startswith("positions 21 to 24 (motif_01, motif_02) give ")
    assert hovered.inner_text().endswith(" % of their attention to positions 1 to 4")
    before = canvas.evaluate(PIXELS)
    page.get_by_label("layer").first.select_option("1")
    assert canvas.evaluate(PIXELS) != before


@needs_axe
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_axe_finds_nothing_serious(page, size):
    page.set_viewport_size(size)
    page.evaluate(Path(str(AXE)).read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert len(found["passes"]) > 10  # axe-core has run its checks
    serious = [v for v in found["violations"] if v["impact"] in ("serious", "critical")]
    assert [(v["id"], node["target"]) for v in serious for node in v["nodes"]] == []
