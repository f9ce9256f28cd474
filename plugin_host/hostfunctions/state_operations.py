"""What guests may do with a namespace: the operations behind ``plugin_host.state_*``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from ..abi.records import ABSENT
from ..errors import StateQuota, StateValueError
from ..state import MAX_BATCH, MAX_KEY, Namespace, Outcome
from ..wasm.instance import Instance
from .results import check_room, give
from .state_arguments import (
    F64,
    HIGHEST,
    I64,
    INFINITY,
    LOWEST,
    MAX_KEYS,
    check_batch,
    double,
    read_key,
    seconds,
    signed,
)
from .state_packing import pack_page, pack_values, packed_length, unpack_items, unpack_keys

#: The result of a conditional write that was done; lengths are below.
DONE: Final = 1 << 32


class Operation(NamedTuple):
    """One function that guests call with a namespace's handle.

    :param name: what follows ``state_``.
    :param params: kinds of what follows the handle: ``i`` for an i32, ``l`` for an i64.
    :param work: does it, given the instance, the namespace, a deadline and the arguments; raises
        GuestTrap and StateError.
    """

    name: str
    params: str
    result: str
    work: Callable[..., int]


def _get(
    instance: Instance, space: Namespace, deadline: float,
    key: int, key_len: int, out: int, cap: int,
) -> int:  # fmt: skip
    return give(instance, space.get(read_key(instance, key, key_len), deadline=deadline), out, cap)


def _put(
    instance: Instance, space: Namespace, deadline: float,
    key: int, key_len: int, pointer: int, length: int, ttl: int,
) -> int:  # fmt: skip
    name, value = read_key(instance, key, key_len), _value(instance, space, pointer, length)
    space.put(name, value, deadline=deadline, ttl=seconds(ttl))
    return 0


def _delete(instance: Instance, space: Namespace, deadline: float, key: int, key_len: int) -> int:
    return space.delete(read_key(instance, key, key_len), deadline=deadline)


def _swap(
    instance: Instance, space: Namespace, deadline: float,
    key: int, key_len: int, expected: int, expected_len: int,
    pointer: int, length: int, ttl: int, out: int, cap: int,
) -> int:  # fmt: skip
    check_room(instance, out, cap)
    name = read_key(instance, key, key_len)
    # What is larger than any value may be was never put, unless the quota was lowered since.
    old = None if expected_len == ABSENT else instance.read(expected, expected_len)
    new = None if length == ABSENT else _value(instance, space, pointer, length)
    done, now = space.compare_and_set(name, old, new, deadline=deadline, ttl=seconds(ttl))
    return DONE if done else give(instance, now, out, cap)


def _add(
    instance: Instance, space: Namespace, deadline: float,
    key: int, key_len: int, delta: int, floor: int, ceiling: int, ttl: int, out: int,
) -> int:  # fmt: skip
    check_room(instance, out, 8 if out else 0)
    low, high = signed(floor), signed(ceiling)
    done, number = space.add(
        read_key(instance, key, key_len), signed(delta), deadline=deadline, ttl=seconds(ttl),
        floor=None if low == LOWEST else low, ceiling=None if high == HIGHEST else high,
    )  # fmt: skip
    if out:
        instance.write(out, I64.pack(number))
    return done


def _add_f64(
    instance: Instance, space: Namespace, deadline: float,
    key: int, key_len: int, delta: int, floor: int, ceiling: int, ttl: int, out: int,
) -> int:  # fmt: skip
    check_room(instance, out, 8 if out else 0)
    low, high = double(floor), double(ceiling)
    done, number = space.add_float(
        read_key(instance, key, key_len), double(delta), deadline=deadline, ttl=seconds(ttl),
        floor=None if low == -INFINITY else low, ceiling=None if high == INFINITY else high,
    )  # fmt: skip
    if out:
        instance.write(out, F64.pack(number))
    return done


def _admit(
    instance: Instance, space: Namespace, deadline: float,
    key: int, key_len: int, prefix_len: int, limit: int,
    pointer: int, length: int, ttl: int, out: int, cap: int,
) -> int:  # fmt: skip
    check_room(instance, out, cap)
    name = read_key(instance, key, key_len)
    if prefix_len > key_len:
        raise StateValueError("the prefix is longer than its key; correct the call", "prefix")
    outcome, now = space.put_if_fewer_than(
        name[:prefix_len], signed(limit), name, _value(instance, space, pointer, length),
        deadline=deadline, ttl=seconds(ttl),
    )  # fmt: skip
    return DONE if outcome is Outcome.ADDED else give(instance, now, out, cap)


def _count(
    instance: Instance, space: Namespace, deadline: float, prefix: int, prefix_len: int
) -> int:
    return space.count(read_key(instance, prefix, prefix_len), deadline=deadline)


def _list(
    instance: Instance, space: Namespace, deadline: float,
    prefix: int, prefix_len: int, cursor: int, cursor_len: int, limit: int, out: int, cap: int,
) -> int:  # fmt: skip
    if cursor_len > 2 * MAX_KEY:
        raise StateValueError(f"a cursor of {cursor_len} bytes is none; begin anew", "cursor")
    page = space.list(
        read_key(instance, prefix, prefix_len), deadline=deadline,
        cursor=instance.read(cursor, cursor_len), limit=limit,
    )  # fmt: skip
    return give(instance, pack_page(page), out, cap)


def _get_many(
    instance: Instance, space: Namespace, deadline: float, keys: int, size: int, out: int, cap: int
) -> int:
    check_batch(size, MAX_KEYS)
    names = tuple(unpack_keys(instance.read(keys, size)))
    unique = tuple(dict.fromkeys(names))  # a thousand times the same one is still read once,
    found = dict(zip(unique, space.get_many(unique, deadline=deadline), strict=True))
    values = [found[name] for name in names]
    length = packed_length(values)
    if length <= cap:  # and copied only if the guest has room for a thousand
        instance.write(out, pack_values(values))
    return length


def _put_many(
    instance: Instance, space: Namespace, deadline: float, items: int, size: int, ttl: int
) -> int:
    check_batch(size, MAX_BATCH * (8 + MAX_KEY) + min(space.quota.max_bytes, 1 << 32))
    pairs = unpack_items(instance.read(items, size))
    space.put_many(pairs, deadline=deadline, ttl=seconds(ttl))
    return 0


def _delete_many(
    instance: Instance, space: Namespace, deadline: float, keys: int, size: int
) -> int:
    check_batch(size, MAX_KEYS)
    return space.delete_many(unpack_keys(instance.read(keys, size)), deadline=deadline)


def _value(instance: Instance, space: Namespace, pointer: int, length: int) -> bytes:
    most = space.quota.max_value
    if length > most:
        what = f"a value of {length} bytes is larger than the {most} allowed"
        raise StateQuota(what, "value_size")
    return instance.read(pointer, length)


OPERATIONS: Final = (
    Operation("get", "iiii", "i64", _get),
    Operation("put", "iiiil", "i32", _put),
    Operation("delete", "ii", "i32", _delete),
    Operation("swap", "iiiiiilii", "i64", _swap),
    Operation("add", "iilllli", "i32", _add),
    Operation("add_f64", "iilllli", "i32", _add_f64),
    Operation("admit", "iiiliilii", "i64", _admit),
    Operation("count", "ii", "i64", _count),
    Operation("list", "iiiiiii", "i64", _list),
    Operation("get_many", "iiii", "i64", _get_many),
    Operation("put_many", "iil", "i32", _put_many),
    Operation("delete_many", "ii", "i32", _delete_many),
)
