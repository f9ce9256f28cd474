"""The capability ``state``: a plugin's keys and values (docs/abi.md, "State").

Namespaces of plugins and shared ones have names of two kinds, so none collides with another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic
from typing import Final

from ..config import shared_namespaces
from ..errors import GuestTrap, StateError, StateQuota, StateValueError
from ..state import MAX_BATCH, MAX_KEY, Namespace, Outcome, Quota, Store
from ..wasm.instance import HostFunction, Instance
from .records import ABSENT
from .services import Group, Services, late
from .stage import LIVE, Stage
from .state_arguments import (
    F64,
    HIGHEST,
    I64,
    INFINITY,
    LOWEST,
    MAX_KEYS,
    check_batch,
    check_room,
    double,
    give,
    read_key,
    seconds,
    signed,
)
from .state_packing import pack_page, pack_values, unpack_items, unpack_keys

#: The part of the time left to the hook that an operation may take: the rest is for its answer.
SHARE: Final = 0.8
#: The result of a conditional write that was done; lengths are below.
DONE: Final = 1 << 32

Spaces = tuple[Namespace, ...]
#: Does the work of one function, given the namespace and the deadline.
Work = Callable[..., int]


def own_namespace(plugin: str) -> str:
    """Return the name of a plugin's own namespace in the app's store."""
    return f"plugin:{plugin}"


def shared_namespace(name: str) -> str:
    """Return the name of a shared namespace in the app's store."""
    return f"shared:{name}"


class _Opened:
    """The namespaces that one version of a plugin may use, by handle, on each stage."""

    __slots__ = ("_names", "_quota", "handles", "live")

    def __init__(self, services: Services) -> None:
        shared = sorted(shared_namespaces(services.granted))
        self._names = [own_namespace(services.plugin), *map(shared_namespace, shared)]
        self._quota: Quota = services.quota
        self.handles = {name: handle for handle, name in enumerate(shared, 1)}
        self.live = self._in(services.store)

    def _in(self, store: Store) -> Spaces:
        return tuple(store.namespace(name, self._quota) for name in self._names)

    def on(self, stage: object) -> Spaces:
        """Return those of a stage that is not the app.

        :raises GuestTrap: there is none.
        """
        if not isinstance(stage, Stage):
            raise GuestTrap(
                "state was used while the instance was being made; use it in hooks only", "host"
            )
        return self._in(stage.store)


def groups(services: Services) -> Iterator[Group]:
    """Provide ``plugin_host.state_*``."""
    opened, failures = _Opened(services), services.state_failures
    live, quota, log = opened.live, services.quota, services.log

    def function(name: str, params: str, result: str, work: Work) -> HostFunction:
        what = f"state_{name}"

        def call(instance: Instance, handle: int, *arguments: int) -> int:
            spaces = live if instance.stage is LIVE else opened.on(instance.stage)
            try:
                space = spaces[handle]
            except IndexError:
                raise GuestTrap(f"{handle} is no handle of a namespace", "host") from None
            now = monotonic()
            left = instance.deadline - now
            if left <= 0:
                raise late()
            deadline = now + left * SHARE
            try:
                return work(instance, space, deadline, *arguments)
            except StateError as error:
                return failures.note(instance, log, f"{what} in {space.name}", error)

        kinds = tuple({"i": "i32", "l": "i64"}[letter] for letter in params)
        return HostFunction("plugin_host", what, ("i32", *kinds), (result,), call)

    def open_shared(instance: Instance, pointer: int, length: int) -> int:
        opened.on(instance.stage)
        name = instance.read(pointer, length).decode("latin-1") if length <= MAX_KEY else ""
        handle = opened.handles.get(name)
        if handle is None:
            return failures.note(instance, log, "state_open", _closed(name))
        return handle

    def value(instance: Instance, pointer: int, length: int) -> bytes:
        if length > quota.max_value:
            what = f"a value of {length} bytes is larger than the {quota.max_value} allowed"
            raise StateQuota(what, "value_size")
        return instance.read(pointer, length)

    def put(
        instance: Instance, space: Namespace, deadline: float,
        key: int, key_len: int, pointer: int, length: int, ttl: int,
    ) -> int:  # fmt: skip
        name = read_key(instance, key, key_len)
        space.put(name, value(instance, pointer, length), deadline=deadline, ttl=seconds(ttl))
        return 0

    def swap(
        instance: Instance, space: Namespace, deadline: float,
        key: int, key_len: int, expected: int, expected_len: int,
        pointer: int, length: int, ttl: int, out: int, cap: int,
    ) -> int:  # fmt: skip
        check_room(instance, out, cap)
        name = read_key(instance, key, key_len)
        # What is larger than any value may be was never put, unless the quota was lowered since.
        old = None if expected_len == ABSENT else instance.read(expected, expected_len)
        new = None if length == ABSENT else value(instance, pointer, length)
        done, now = space.compare_and_set(name, old, new, deadline=deadline, ttl=seconds(ttl))
        return DONE if done else give(instance, now, out, cap)

    def admit(
        instance: Instance, space: Namespace, deadline: float,
        key: int, key_len: int, prefix_len: int, limit: int,
        pointer: int, length: int, ttl: int, out: int, cap: int,
    ) -> int:  # fmt: skip
        check_room(instance, out, cap)
        name = read_key(instance, key, key_len)
        if prefix_len > key_len:
            raise StateValueError("the prefix is longer than its key; correct the call", "prefix")
        outcome, now = space.put_if_fewer_than(
            name[:prefix_len], signed(limit), name, value(instance, pointer, length),
            deadline=deadline, ttl=seconds(ttl),
        )  # fmt: skip
        return DONE if outcome is Outcome.ADDED else give(instance, now, out, cap)

    def put_many(
        instance: Instance, space: Namespace, deadline: float, items: int, size: int, ttl: int
    ) -> int:
        check_batch(size, MAX_BATCH * (8 + MAX_KEY) + min(quota.max_bytes, 1 << 32))
        pairs = unpack_items(instance.read(items, size))
        space.put_many(pairs, deadline=deadline, ttl=seconds(ttl))
        return 0

    i32, i64 = "i32", "i64"
    yield Group(
        "state",
        (
            HostFunction("plugin_host", "state_open", (i32, i32), (i32,), open_shared),
            function("get", "iiii", i64, _get),
            function("put", "iiiil", i32, put),
            function("delete", "ii", i32, _delete),
            function("swap", "iiiiiilii", i64, swap),
            function("add", "iilllli", i32, _add),
            function("add_f64", "iilllli", i32, _add_f64),
            function("admit", "iiiliilii", i64, admit),
            function("count", "ii", i64, _count),
            function("list", "iiiiiii", i64, _list),
            function("get_many", "iiii", i64, _get_many),
            function("put_many", "iil", i32, put_many),
            function("delete_many", "ii", i32, _delete_many),
        ),
    )


def _get(
    instance: Instance, space: Namespace, deadline: float,
    key: int, key_len: int, out: int, cap: int,
) -> int:  # fmt: skip
    return give(instance, space.get(read_key(instance, key, key_len), deadline=deadline), out, cap)


def _delete(instance: Instance, space: Namespace, deadline: float, key: int, key_len: int) -> int:
    return space.delete(read_key(instance, key, key_len), deadline=deadline)


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
    return give(instance, pack_values(space.get_many(names, deadline=deadline)), out, cap)


def _delete_many(
    instance: Instance, space: Namespace, deadline: float, keys: int, size: int
) -> int:
    check_batch(size, MAX_KEYS)
    return space.delete_many(unpack_keys(instance.read(keys, size)), deadline=deadline)


def _closed(name: str) -> StateValueError:
    return StateValueError(
        f"the shared namespace {name[:64]!r} is not open to this plugin; ask for the capability"
        f" 'state:{name[:64]}' in its manifest, and grant it in PLUGIN_HOST_GRANTS",
        "namespace",
    )
