from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugin_host.manifest import Match, Rule


def path_matches(pattern: str, path: str) -> bool:
    return Rule(paths=(pattern,)).matches("GET", path, None)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("/", "/", True),
        ("/", "/a", False),
        ("/a", "/a", True),
        ("/a", "/a\n", False),
        ("/a", "/ab", False),
        ("/a", "/A", False),
        ("/a.b", "/axb", False),
        ("/[a]?", "/[a]?", True),
        ("/*", "/", True),
        ("/*", "/abc", True),
        ("/*", "/abc/d", False),
        ("/*", "/a\nb", True),
        ("/shop/*/buy", "/shop/17/buy", True),
        ("/shop/*/buy", "/shop/17/now/buy", False),
        ("/shop/*.json", "/shop/a.json.json", True),
        ("/*-*-*", "/a-b-c-d", True),
        ("/*-*-*", "/a-b", False),
        ("/**", "/", True),
        ("/**", "/a/b/c", True),
        ("/**", "/a\n/b", True),
        ("/api/**", "/api/", True),
        ("/api/**", "/api", False),
        ("/**/edit", "/a/b/edit", True),
        ("/**/edit", "/edit", False),
        ("/***", "/a/b", True),
        ("/ünï/*", "/ünï/ü", True),
    ],
)
def test_path_patterns(pattern: str, path: str, expected: bool) -> None:
    """One star stays in its segment, two cross slashes, and everything else is literal."""
    assert path_matches(pattern, path) is expected


def by_definition(pattern: str, path: str) -> bool:
    if not pattern:
        return not path
    if pattern.startswith("**"):
        return any(by_definition(pattern[2:], path[i:]) for i in range(len(path) + 1))
    if pattern.startswith("*"):
        segment = path.split("/", 1)[0]
        return any(by_definition(pattern[1:], path[i:]) for i in range(len(segment) + 1))
    return path[:1] == pattern[0] and by_definition(pattern[1:], path[1:])


@given(st.text("ab/*", max_size=8), st.text("ab/", max_size=10))
def test_patterns_mean_what_they_say(pattern: str, path: str) -> None:
    """The regular expression agrees with the definition, however wildcards combine."""
    assert path_matches("/" + pattern, "/" + path) is by_definition("/" + pattern, "/" + path)


def test_patterns_do_not_explode() -> None:
    """A long path that almost fits many wildcards is refused without trying all the ways."""
    path = "/" + "a" * 2000
    assert not path_matches("/" + "**a" * 20 + "b", path)
    assert not path_matches("/" + "*a" * 20 + "b", path)
    # The square of this path's length would be minutes, and a plugin may make it longer.
    path = "/" + "a" * 100_000
    for pattern in ("/**a*b/**", "/**a*b", "/**a*a*b/**", "/**x*b/**c"):
        assert not path_matches(pattern, path)


@pytest.mark.parametrize(
    ("rule", "method", "path", "endpoint", "expected"),
    [
        (Rule(), "GET", "/", None, True),
        (Rule(methods=frozenset({"GET", "POST"})), "POST", "/", None, True),
        (Rule(methods=frozenset({"GET"})), "HEAD", "/", None, False),
        (Rule(endpoints=("shop.*",)), "GET", "/", "shop.buy", True),
        (Rule(endpoints=("shop.*",)), "GET", "/", "Shop.buy", False),
        (Rule(endpoints=("shop.*", "index")), "GET", "/", "index", True),
        (Rule(endpoints=("*",)), "GET", "/", None, False),
        (Rule(endpoints=("index",)), "GET", "/", "index\n", False),
        (Rule(paths=("/a", "/b")), "GET", "/b", None, True),
        (Rule(("/a",), frozenset({"GET"}), ("index",)), "GET", "/a", "index", True),
        (Rule(("/a",), frozenset({"GET"}), ("index",)), "GET", "/b", "index", False),
        (Rule(("/a",), frozenset({"GET"}), ("index",)), "PUT", "/a", "index", False),
        (Rule(("/a",), frozenset({"GET"}), ("index",)), "GET", "/a", "other", False),
    ],
)
def test_rules(rule: Rule, method: str, path: str, endpoint: str | None, expected: bool) -> None:
    """A rule fits when every part that is given fits."""
    assert rule.matches(method, path, endpoint) is expected


def test_rules_are_alternatives() -> None:
    """One fitting rule is enough."""
    match = Match((Rule(paths=("/a",)), Rule(methods=frozenset({"PUT"}))))
    requests = [("GET", "/a"), ("PUT", "/b"), ("GET", "/b")]
    assert [match.matches(*request, None) for request in requests] == [True, True, False]


def test_no_rules_fit_everything() -> None:
    """A plugin that declares no rules sees every request, also those that route nowhere."""
    assert Match().matches("GET", "/missing", None) is True


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ((), (False, False)),
        ((Rule(methods=frozenset({"GET"})),), (False, False)),
        ((Rule(paths=("/",)),), (True, False)),
        ((Rule(), Rule(endpoints=("x",))), (False, True)),
        ((Rule(paths=("/",)), Rule(endpoints=("x",))), (True, True)),
    ],
)
def test_what_matters(rules: tuple[Rule, ...], expected: tuple[bool, bool]) -> None:
    """A match says which parts of a request its answer depends on."""
    match = Match(rules)
    assert (match.uses_path, match.uses_endpoint) == expected


def test_equality() -> None:
    """Matches of the same patterns are equal, and hash alike."""
    one, other = (Match((Rule(("/a*",), None, ("x",)),)) for _ in range(2))
    assert (one == other, hash(one) == hash(other)) == (True, True)
    assert one != Match((Rule(("/b*",), None, ("x",)),))
