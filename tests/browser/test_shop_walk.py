"""A person walks through the shop."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from webapp.hooks import Discount, Line, Quote

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Site

pytestmark = pytest.mark.browser

_PATIENCE = 10.0  # seconds


class Visitor:
    """Somebody with a browser, who looks and clicks."""

    def __init__(self, chromium: Any, url: str) -> None:
        self.chromium = chromium
        self.url = url

    def open(self, path: str) -> None:
        """Go to a page."""
        self.chromium.get(self.url + path)

    def find(self, selector: str) -> Any:
        """Return the one element that the selector means."""
        (element,) = self.chromium.find_elements("css selector", selector)
        return element

    def text(self, selector: str = "main") -> str:
        """Return what can be read there."""
        text: str = self.find(selector).text
        return text

    def follow(self, selector: str) -> None:
        """Click, and wait until the next page is there."""
        old = self.find("html")
        self.find(selector).click()
        self.wait(lambda: _gone(old))

    def fill(self, selector: str, text: str) -> None:
        """Replace what a field holds."""
        field = self.find(selector)
        field.clear()
        field.send_keys(text)

    def reads(self, path: str, selector: str, text: str) -> bool:
        """Go to a page and say whether the text is there."""
        self.open(path)
        return any(text in e.text for e in self.chromium.find_elements("css selector", selector))

    def wait(self, happened: Callable[[], Any]) -> None:
        """Wait until something has happened, at most for `_PATIENCE` seconds."""
        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.support.ui import WebDriverWait

        # A script may replace an element between finding and reading it.
        patient = WebDriverWait(
            self.chromium, _PATIENCE, 0.05, ignored_exceptions=[StaleElementReferenceException]
        )
        patient.until(lambda _: happened())

    def complaints(self) -> list[str]:
        """Return what the browser's console says."""
        return [entry["message"] for entry in self.chromium.get_log("browser")]


def _gone(element: Any) -> bool:
    from selenium.common.exceptions import StaleElementReferenceException, WebDriverException

    try:
        element.is_enabled()
    except (StaleElementReferenceException, WebDriverException):
        return True
    return False


@pytest.fixture
def visitor(chromium: Any, site: Site) -> Visitor:
    """Somebody who has just opened the shop for the first time."""
    someone = Visitor(chromium, site.url)
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    someone.open("/")
    chromium.delete_all_cookies()
    someone.open("/")
    someone.complaints()  # those of the test before
    return someone


def test_from_product_to_order(visitor: Visitor) -> None:
    """A visitor picks a product, sees its price for a quantity, and orders it."""
    visitor.follow('a[href="/products/mug-stone"]')
    visitor.fill("#quantity", "3")
    visitor.follow("#price-form button")
    assert visitor.text("#total") == "€43.50"
    visitor.follow("#add")
    assert "3 × Stoneware mug added to your cart." in visitor.text(".notice")
    assert visitor.text("nav .count").startswith("3")
    visitor.follow("#to-checkout")
    visitor.fill("#note", "Please ring twice.")
    assert visitor.text("#place") == "Place order for €43.50"
    visitor.follow("#place")
    assert re.fullmatch(r"(?:[0-9A-Z]{4}-){2}[0-9A-Z]{4}", visitor.text("#number"))
    assert "Please ring twice." in visitor.text()
    visitor.open("/cart")
    assert "There is nothing in it yet." in visitor.text()
    assert visitor.complaints() == []


def test_live_price(visitor: Visitor) -> None:
    """The price follows the quantity while it is typed, and what is shown is what is added."""
    visitor.open("/products/filter-paper")
    page = visitor.find("html")
    visitor.fill("#quantity", "7")
    visitor.wait(lambda: visitor.text("#total") == "€34.30")
    assert not _gone(page)
    visitor.follow("#add")
    assert "7 × Paper filters" in visitor.text(".notice")
    assert visitor.complaints() == []


def test_flash_sale_with_a_name(visitor: Visitor) -> None:
    """A visitor chooses a name on the way to the flash sale, and buys one piece there."""
    visitor.open("/flash")
    visitor.follow("main p a")
    visitor.fill("#name", "ann")
    visitor.follow("main form button")
    assert visitor.chromium.current_url.endswith("/flash")
    assert visitor.text("nav .who").endswith("ann")
    visitor.follow("#buy-teapot-iron")
    assert "Thank you, ann!" in visitor.text("h1")
    assert visitor.text("#total") == "€29.00"
    assert visitor.complaints() == []


def test_out_of_stock(visitor: Visitor) -> None:
    """A visitor who wants more than there is reads how many are left."""
    visitor.open("/products/grinder-hand?quantity=4")
    visitor.follow("#add")
    visitor.follow("#to-checkout")
    visitor.follow("#place")
    assert "Only 3 of Hand grinder left" in visitor.text("#reason")


def test_plugin_page_without_plugins(visitor: Visitor) -> None:
    """Without plugins, footer and plugin page say that the defaults decide."""
    assert "No plugins" in visitor.text("footer")
    visitor.follow('nav a[href="/plugins"]')
    assert "No plugin is serving" in visitor.text("#none")


def test_price_changes_live(visitor: Visitor, site: Site) -> None:
    """A plugin that is put into the folder decides the next price, and so does its successor."""
    steps = (("1.0.0", 100, "€13.50"), ("2.0.0", 250, "€12.00"))
    for version, discount, total in steps:
        _deploy(site.plugins, version, _pricing_guest(discount))
        visitor.wait(lambda total=total: visitor.reads("/products/mug-stone", "#total", total))
        assert f"{discount} cents off" in visitor.text(".sums .discount")
        visitor.wait(lambda v=version: visitor.reads("/plugins", "#plugins tbody", f"demo {v}"))
    for file in site.plugins.iterdir():
        file.unlink()
    visitor.wait(lambda: visitor.reads("/products/mug-stone", "#total", "€14.50"))


def _deploy(folder: Path, version: str, guest: str) -> None:
    # Renamed into place, so that each file is whole from the first moment.
    (folder / ".demo.toml").write_text(f'name = "demo"\nversion = "{version}"\n')
    (folder / ".demo.wat").write_text(guest)
    (folder / ".demo.toml").replace(folder / "demo.toml")
    (folder / ".demo.wat").replace(folder / "demo.wat")


def _pricing_guest(discount: int) -> str:
    """Return a guest that knows the price of one mug, and answers nothing else."""
    answer = Quote(
        items=[Line("mug-stone", "Stoneware mug", 1450, 1)],
        subtotal=1450,
        total=1450 - discount,
        discounts=[Discount(f"{discount} cents off", discount)],
        user=None,
        flash=False,
    )
    data = msgspec.json.encode(answer)
    quoted = "".join(f"\\{byte:02x}" for byte in data)
    return f"""(module
      (memory (export "memory") 2)
      (data (i32.const 65536) "{quoted}")
      (func (export "ph_abi_version") (result i32) (i32.const 1))
      (func (export "ph_alloc") (param i32) (result i32) (i32.const 4096))
      (func (export "price_quote") (param i32) (result i64)
        (i64.const {65536 << 32 | len(data)})))"""


def test_keyboard_reaches_the_content(visitor: Visitor) -> None:
    """The first press of the tab key offers to skip to the content."""
    from selenium.webdriver.common.keys import Keys

    visitor.find("body").send_keys(Keys.TAB)
    focused = visitor.chromium.switch_to.active_element
    assert focused.text == "Skip to content"


@pytest.mark.parametrize("path", ["/", "/products/mug-stone", "/flash", "/plugins", "/user", "/no"])
def test_narrow_screen(visitor: Visitor, path: str) -> None:
    """On a narrow screen no page has to be scrolled sideways."""
    metrics = {"width": 360, "height": 700, "deviceScaleFactor": 1, "mobile": True}
    visitor.chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    visitor.open(path)
    width = visitor.chromium.execute_script("return document.documentElement.scrollWidth")
    assert width <= 360
