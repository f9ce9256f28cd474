"""Decoding edit lists: whatever a guest returns is a valid list or `BadResult`."""

from __future__ import annotations

import string
import tracemalloc
from typing import Any

import abi_reference as reference
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plugin_host.abi.native import EditsDecoder, unpack_result
from plugin_host.errors import BadResult
from plugin_host.message import Answer, RequestEdits, ResponseEdits, environ_key

# A busy machine is no failure.
untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

TOKENS = st.text(string.ascii_letters + string.digits + "!#$%&'*+.^`|~", min_size=1, max_size=20)
VALUES = st.text(
    [chr(code) for code in range(0x20, 0x100) if code != 0x7F] + ["\t"], max_size=30
).map(lambda text: text.strip(" \t").encode("latin-1"))
HEADERS = st.one_of(
    st.builds(
        lambda op, name, value: {"op": op, "name": "x" + name, "value": value},
        st.sampled_from(["set_header", "add_header"]),
        TOKENS,
        VALUES,
    ),
    TOKENS.map(lambda name: {"op": "remove_header", "name": "x" + name}),
)


def value_edit(op: str, values: st.SearchStrategy[bytes]) -> st.SearchStrategy[dict[str, Any]]:
    return values.map(lambda value: {"op": op, "value": value})


REQUEST_LISTS = st.lists(
    st.one_of(
        HEADERS,
        value_edit("set_path", st.binary(max_size=30).map(lambda rest: b"/" + rest)),
        value_edit(
            "set_query", st.text(string.ascii_letters + "&=%+", max_size=20).map(str.encode)
        ),
        value_edit("set_method", st.text(string.ascii_uppercase, min_size=1).map(str.encode)),
        value_edit("set_body", st.binary(max_size=2000)),
        value_edit("set_context", st.binary(max_size=100)),
        st.builds(
            lambda name, value: {"op": "set_g", "name": "n" + name, "value": value.encode()},
            st.text(string.ascii_letters + string.digits + "_", max_size=63),
            st.text(max_size=20),
        ),
    ),
    max_size=12,
)
RESPONSE_LISTS = st.lists(
    st.one_of(
        HEADERS,
        value_edit("set_body", st.binary(max_size=2000)),
        st.sampled_from([200, 302, 404, 599]).map(
            lambda code: {"op": "set_status", "status": code}
        ),
    ),
    max_size=12,
)


def last(edits: list[dict[str, Any]], op: str) -> Any:
    found = [edit.get("value", edit.get("status")) for edit in edits if edit["op"] == op]
    return found[-1] if found else None


def text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def header_edits(edits: list[dict[str, Any]], key: Any) -> tuple[Any, ...]:
    return tuple(
        (
            reference.OPS[edit["op"]],
            edit["name"],
            text(edit.get("value", b"")),
            key(edit["name"]),
        )
        for edit in edits
        if edit["op"].endswith("_header")
    )


@untimed
@given(REQUEST_LISTS)
def test_request_edits_round_trip(edits: list[dict[str, Any]]) -> None:
    """Every edit of a request comes out of the list as it went in."""
    assert EditsDecoder().request(reference.encode_edits(edits)) == RequestEdits(
        headers=header_edits(edits, environ_key),
        path=text(last(edits, "set_path")),
        query=text(last(edits, "set_query")),
        method=text(last(edits, "set_method")),
        body=last(edits, "set_body"),
        g=tuple((e["name"], e["value"].decode()) for e in edits if e["op"] == "set_g"),
        context=last(edits, "set_context"),
    )


@untimed
@given(RESPONSE_LISTS)
def test_response_edits_round_trip(edits: list[dict[str, Any]]) -> None:
    """Every edit of a response comes out of the list as it went in."""
    assert EditsDecoder().response(reference.encode_edits(edits)) == ResponseEdits(
        headers=header_edits(edits, str.lower),
        status=last(edits, "set_status"),
        body=last(edits, "set_body"),
    )


@untimed
@given(st.sampled_from([200, 404, 503]), st.lists(HEADERS, max_size=8), st.binary(max_size=50))
def test_answer_round_trip(status: int, headers: list[dict[str, Any]], body: bytes) -> None:
    """An answer has the status, the headers that its edits leave, and the body of the list."""
    edits = [{"op": "answer", "status": status}, *headers, {"op": "set_body", "value": body}]
    expected = reference.effect(edits)["answer"]
    decoded = EditsDecoder().request(reference.encode_edits(edits))
    final = tuple((name, value.decode("latin-1")) for name, value in expected["headers"])
    assert RequestEdits(answer=Answer(status, final, body)) == decoded


def outcome(decode: Any, data: bytes) -> RequestEdits | ResponseEdits | BadResult:
    try:
        edits: RequestEdits | ResponseEdits = decode(data)
    except BadResult as exc:
        return exc
    return edits


def refused_or_decoded(data: bytes) -> None:
    decoder = EditsDecoder(max_result=4096)
    for decode in (decoder.request, decoder.response):
        result = outcome(decode, data)
        if isinstance(result, BadResult):
            assert 0 <= result.offset <= max(len(data), 4096)
            assert result.rule


@untimed
@given(st.binary(max_size=300))
def test_garbage_is_refused(data: bytes) -> None:
    """Any bytes give a valid list or `BadResult`, nothing else."""
    refused_or_decoded(data)


LOOSE_EDITS = st.builds(
    reference.raw_edit,
    st.integers(0, 13),
    st.one_of(st.binary(max_size=8), st.sampled_from([b"x-a", b"TE", b"_g", b"get", b"ok"])),
    st.one_of(st.binary(max_size=12), st.sampled_from([b"/p", b"GET", b"\xc8\0", b"\xcc\0"])),
    st.sampled_from([0, 0, 0, 1]),
    st.one_of(st.none(), st.none(), st.integers(0, 0xFFFF)),
    st.one_of(st.none(), st.none(), st.integers(0, 0xFFFFFFFF)),
)


@untimed
@given(st.lists(LOOSE_EDITS, max_size=6))
def test_nearly_valid_is_refused(edits: list[bytes]) -> None:
    """Lists with a good frame and any content give a valid list or `BadResult`, nothing else."""
    refused_or_decoded(reference.HEADER + b"".join(edits))


@untimed
@given(REQUEST_LISTS, st.data())
def test_cut_or_flipped_is_refused(edits: list[dict[str, Any]], data: st.DataObject) -> None:
    """A list that is cut short or has a byte changed is a valid list or `BadResult`."""
    good = bytearray(reference.encode_edits(edits))
    at = data.draw(st.integers(0, len(good) - 1))
    refused_or_decoded(bytes(good[:at]))
    good[at] ^= data.draw(st.integers(1, 255))
    refused_or_decoded(bytes(good))


@pytest.mark.parametrize(
    "data",
    [
        reference.HEADER + reference.raw_edit(7, value_len=0xFFFFFFFF),
        reference.HEADER + reference.raw_edit(1, b"x", name_len=0xFFFF, value_len=0xFFFFFFFF) * 9,
        reference.HEADER + reference.raw_edit(1, b"x", b"1") * 1001,
        reference.HEADER + b"\xff" * 4000,
    ],
    ids=["value_len", "both lengths", "too many edits", "noise"],
)
def test_refusal_allocates_little(data: bytes) -> None:
    """Lengths and counts that a guest claims are not allocated."""
    decoder = EditsDecoder(max_result=1 << 20)
    tracemalloc.start()
    try:
        with pytest.raises(BadResult):
            decoder.request(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 18


def one_header(value: str, size: int = 0) -> bytes:
    padded = value.ljust(size, "x").encode()
    return reference.encode_edits([{"op": "set_header", "name": "x-a", "value": padded}])


def test_small_results_are_remembered() -> None:
    """The same small result decodes to the same object; a large one is decoded each time."""
    decoder = EditsDecoder()
    small, large = one_header("1"), one_header("1", 1025)
    assert decoder.request(small) is decoder.request(bytes(bytearray(small)))
    assert decoder.response(small) is decoder.response(small)
    assert decoder.request(large) == decoder.request(large)
    assert decoder.request(large) is not decoder.request(large)


def test_hooks_are_not_confused() -> None:
    """The same bytes mean what they mean in each hook, whichever was decoded first."""
    decoder = EditsDecoder()
    data = one_header("1")
    assert ((1, "x-a", "1", "HTTP_X_A"),) == decoder.request(data).headers
    assert ((1, "x-a", "1", "x-a"),) == decoder.response(data).headers
    path = reference.encode_edits([{"op": "set_path", "value": b"/"}])
    assert "/" == decoder.request(path).path
    with pytest.raises(BadResult, match="allowed at this place"):
        decoder.response(path)


def test_memory_of_results_is_bounded() -> None:
    """However many different results and names come, what is kept is bounded."""
    decoder = EditsDecoder()
    kept = decoder.request(one_header("first"))
    for number in range(512):
        name = f"x-{number}"
        data = reference.encode_edits([{"op": "set_header", "name": name, "value": b"1"}])
        assert name == decoder.request(data).headers[0][1]
    assert kept == decoder.request(one_header("first"))
    assert kept is not decoder.request(one_header("first"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, (0, 0, False)),
        (0x0001_0008_0000_0010, (0x10008, 0x10, False)),
        (0x0001_0008_8000_0010, (0x10008, 0x10, True)),
        (-1, (0xFFFFFFFF, 0x7FFFFFFF, True)),
        (-(1 << 63), (0x80000000, 0, False)),
        (0xFFFFFFF8_00000000, (0xFFFFFFF8, 0, False)),
        (0xFFFFFFF8_00000000 - (1 << 64), (0xFFFFFFF8, 0, False)),
    ],
)
def test_unpack_result(value: int, expected: tuple[int, int, bool]) -> None:
    """Pointer, length and error flag come out of a hook's i64, signed or unsigned."""
    assert expected == unpack_result(value)


@pytest.mark.parametrize("value", [1, 0x80000000, 0xFFFFFFFF])
def test_unpack_result_refuses_null(value: int) -> None:
    """A result at pointer 0 is malformed."""
    with pytest.raises(BadResult, match="pointer is not 0"):
        unpack_result(value)


@untimed
@given(st.integers(-(1 << 63), (1 << 64) - 1))
def test_unpack_result_is_total(value: int) -> None:
    """Any i64 gives numbers within 32 bits, or `BadResult`."""
    try:
        pointer, length, _ = unpack_result(value)
    except BadResult:
        return
    assert 0 <= pointer < 1 << 32
    assert 0 <= length < 1 << 31
