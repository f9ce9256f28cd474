"""The shop under a real gunicorn: what the README promises about it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator

import pytest
from server import ROOT, Answer, Site, serve

pytestmark = pytest.mark.slow

THREE_MUGS = json.dumps({"items": [{"sku": "mug-stone", "quantity": 3}]}).encode()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The shop with a copy of its plugins, new data, and two workers."""
    tmp_path = tmp_path_factory.mktemp("shop")
    for source in (ROOT / "plugins").iterdir():
        if source.suffix in (".wasm", ".wat", ".toml"):
            (tmp_path / "plugins").mkdir(exist_ok=True)
            shutil.copy(source, tmp_path / "plugins")
    database = str(tmp_path / "shop.sqlite3")
    with serve(
        tmp_path, "wsgi:app", chdir=ROOT, FLASK_DATABASE=database, FLASK_SECRET_KEY="for tests"
    ) as site:
        yield site


def quoted(shop: Site) -> int:
    """The price of three mugs, in cents, as some worker says it."""
    answer = shop.get("/api/quote", "POST", THREE_MUGS)
    assert answer.status == 200, answer
    total: int = answer.json["total"]
    return total


def serving(name: str, digest: str | None = None) -> Callable[[Answer], bool]:
    """Whether a worker serves that plugin, in another version than the one of that digest."""

    def found(answer: Answer) -> bool:
        plugins = {plugin["name"]: plugin for plugin in answer.json["plugins"]}
        return name in plugins and plugins[name]["digest"] != digest

    return found


def digest_of(shop: Site, name: str) -> str:
    """The digest of the version that all workers serve."""
    answers = shop.everywhere(serving(name), "/api/plugins").values()
    digests = {p["digest"] for a in answers for p in a.json["plugins"] if p["name"] == name}
    assert len(digests) == 1
    return str(digests.pop())


def test_the_discount_changes_while_the_shop_is_open(shop: Site) -> None:
    """Editing bulk_discount.toml, or copying another rule over it, changes prices everywhere."""
    assert quoted(shop) == 3915
    digest = digest_of(shop, "bulk_discount")

    manifest = (shop.folder / "bulk_discount.toml").read_text()
    assert manifest.count("percent = 10\n") == 1
    shop.put("bulk_discount.toml", manifest.replace("percent = 10\n", "percent = 25\n"))
    shop.everywhere(serving("bulk_discount", digest), "/api/plugins")
    assert [quoted(shop) for _ in range(8)] == [3262] * 8

    digest = digest_of(shop, "bulk_discount")
    variant = ROOT / "plugins" / "variants" / "three_for_two.wasm"
    shutil.copy(variant, shop.folder / "bulk_discount.wasm")
    shop.everywhere(serving("bulk_discount", digest), "/api/plugins")
    assert [quoted(shop) for _ in range(8)] == [2900] * 8


def test_every_page_carries_the_headers_of_two_plugins(shop: Site) -> None:
    """The guard's security headers and the greeting of hello.wat are on every response."""
    headers = shop.get("/").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-hello"] == "from wasm"
