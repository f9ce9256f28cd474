"""The folder scanner's rules, with a clock and a file system that the tests move by hand."""

from __future__ import annotations

import errno
import hashlib
import os
from itertools import count
from pathlib import Path

import pytest

from plugin_host.errors import PluginFileError
from plugin_host.folder.scan import Scan
from plugin_host.folder.scanner import MAX_SIGNATURE_SIZE, FolderScanner
from plugin_host.folder.settling import Timing
from plugin_host.folder.wholefile import Listing, Signature, Status, Whole

FOLDER = Path("plugins")
T = Timing()
LIMIT = 1000


class World:
    """A clock, a wall clock and a folder of files, all moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.wall = 1_700_000_000.0
        self.identity = (1, 1)
        self.changed_at = float("inf")
        self.error: OSError | None = None
        self.contents: dict[str, bytes] = {}
        self.signatures: dict[str, Signature] = {}
        self.problems: dict[str, PluginFileError] = {}
        self.writing: dict[str, bool | None] = {}
        self.reads: list[str] = []
        self._inodes = count(1)
        self.scanner = FolderScanner(
            FOLDER,
            max_module_size=LIMIT,
            clock=lambda: self.now,
            wall=lambda: self.wall,
            files=self,
        )

    def put(self, name: str, content: bytes, *, inode: int | None = None) -> None:
        """Write a file; a new name, or one with ``inode=0``, gets a new inode."""
        old = self.signatures.get(name)
        stamp = int(self.wall * 1e9) + int(self.now * 1e9)
        if inode == 0 or old is None:
            inode = next(self._inodes)
        self.contents[name] = content
        self.signatures[name] = Signature(1, inode or old.ino, len(content), stamp, stamp)

    def rename(self, old: str, new: str) -> None:
        self.contents[new] = self.contents.pop(old)
        self.signatures[new] = self.signatures.pop(old)

    def delete(self, name: str) -> None:
        del self.contents[name], self.signatures[name]

    def scan(self, after: float = 0.0) -> Scan:
        self.now += after
        return self.scanner.scan()

    def start(self) -> Scan:
        return self.scanner.scan(initial=True)

    def quiet(self) -> None:
        """Let everything settle, including the second read of fresh files."""
        for _ in range(20):
            self.scan(after=0.5)
        self.reads.clear()

    def listing(self) -> Listing:
        if self.error is not None:
            raise self.error
        return Listing(self.identity, list(self.contents), self.changed_at)

    def status(self, name: str, limit: int) -> Status:
        signature = self.signatures.get(name)
        if signature is not None and signature.size > limit:
            return Status(signature, PluginFileError(name, "is too large"))
        return Status(signature, self.problems.get(name))

    def read(self, name: str, limit: int, proof: bool) -> Whole | None:
        writing = self.writing.get(name, False)
        if writing or (writing is None and proof):
            return None
        self.reads.append(name)
        return Whole(self.signatures[name], self.contents[name])


@pytest.fixture
def world() -> World:
    return World()


def handed(scan: Scan) -> dict[str, tuple[bytes, bytes | None]]:
    return {c.stem: (c.module, c.manifest) for c in scan.candidates}


def test_start_reads_what_is_there_at_once(world: World) -> None:
    """The first scan hands out every plugin that is whole, with its manifest and digests."""
    world.put("a.wasm", b"A")
    world.put("b.wat", b"B")
    world.put("b.toml", b"T")
    a, b = world.start().candidates
    module = hashlib.sha256(b"A").hexdigest()
    assert (a.stem, a.module_path, a.manifest_path) == ("a", FOLDER / "a.wasm", None)
    assert (a.module_digest, a.digest) == (module, module)
    assert (b.stem, b.module, b.manifest) == ("b", b"B", b"T")
    assert b.manifest_path == FOLDER / "b.toml"
    assert b.module_digest == hashlib.sha256(b"B").hexdigest() != b.digest


def test_start_leaves_out_what_is_being_written(world: World) -> None:
    """At start-up a file that somebody has open for writing waits; nothing else does."""
    world.put("a.wasm", b"half")
    world.put("b.wasm", b"B")
    world.writing["a.wasm"] = True
    scan = world.start()
    assert handed(scan) == {"b": (b"B", None)}
    assert scan.pending_until == world.now + T.stable
    world.writing.clear()
    assert handed(world.scan(after=T.stable)) == {"a": (b"half", None)}


@pytest.mark.parametrize(
    "name", [".a.wasm", "~a.wasm", "a.wasm~", "#a.wasm#", "a.wasm.swp", ".wasm", "a.toml", "notes"]
)
def test_other_files_are_ignored(world: World, name: str) -> None:
    """Hidden and temporary names, other suffixes and a manifest alone are not plugins."""
    world.put(name, b"A")
    world.scanner.hint("moved", name)
    assert world.start() == Scan()
    assert world.scan(after=10) == Scan()


def test_polled_change_waits_until_stable(world: World) -> None:
    """Without an event a change is read when its signature was equal for 100 ms."""
    world.start()
    world.put("a.wasm", b"A")
    assert world.scan().pending_until == pytest.approx(world.now + T.stable)
    world.now += 0.06
    world.put("a.wasm", b"AB")
    assert handed(world.scan()) == {}
    assert handed(world.scan(after=0.06)) == {}
    assert handed(world.scan(after=0.05)) == {"a": (b"AB", None)}


@pytest.mark.parametrize(
    ("event", "wait"), [("moved", T.moved), ("closed", T.settle), ("created", T.settle)]
)
def test_event_shortens_the_wait(world: World, event: str, wait: float) -> None:
    """A rename is read at once, a closed or linked file after 50 ms."""
    world.start()
    world.put("a.wasm", b"A")
    world.scanner.hint(event, "a.wasm")
    assert world.scan().pending_until == pytest.approx(world.now + wait)
    assert handed(world.scan(after=wait * 0.9)) == {}
    assert handed(world.scan(after=wait * 0.2)) == {"a": (b"A", None)}


def test_writes_keep_a_file_busy(world: World) -> None:
    """Between a write and the close nothing is read where writers cannot be detected."""
    world.start()
    world.writing["a.wasm"] = None
    for content in (b"A", b"AB", b"ABC"):
        world.put("a.wasm", content)
        world.scanner.hint("modified", "a.wasm")
        for _ in range(8):
            assert handed(world.scan(after=T.stale / 10)) == {}
    world.scanner.hint("closed", "a.wasm")
    assert handed(world.scan()) == {}
    assert handed(world.scan(after=T.settle)) == {"a": (b"ABC", None)}


def test_busy_ends_when_nobody_writes(world: World) -> None:
    """A write whose close was not seen counts as over when the platform says so."""
    world.start()
    world.put("a.wasm", b"A")
    world.scanner.hint("modified", "a.wasm")
    world.scan()
    assert handed(world.scan(after=T.stable)) == {"a": (b"A", None)}


def test_busy_ends_after_the_stale_limit(world: World) -> None:
    """A write whose close was lost holds the file back for five seconds at most."""
    world.start()
    world.writing["a.wasm"] = None
    world.put("a.wasm", b"A")
    world.scanner.hint("modified", "a.wasm")
    assert handed(world.scan(after=T.stale - 0.1)) == {}
    assert handed(world.scan(after=1.1)) == {"a": (b"A", None)}


def test_event_of_an_earlier_content_does_not_count(world: World) -> None:
    """A change that follows a rename without an event of its own has to be stable again."""
    world.start()
    world.put("a.wasm", b"A")
    world.scanner.hint("moved", "a.wasm")
    world.scan()
    world.put("a.wasm", b"AB")
    assert handed(world.scan(after=T.moved)) == {}
    assert handed(world.scan(after=T.stable)) == {"a": (b"AB", None)}


def test_open_file_is_reported_after_patience(world: World) -> None:
    """A file that stays open for writing becomes an error, which goes when it is closed."""
    world.put("a.wasm", b"A")
    world.start()
    world.quiet()
    world.put("a.wasm", b"AB")
    world.writing["a.wasm"] = True
    seen = [world.scan(after=0.5) for _ in range(30)]
    assert [len(scan.errors) for scan in seen[:20]] == [0] * 20
    assert [error.stem for error in seen[-1].errors] == ["a"]
    assert "open for writing" in str(seen[-1].errors[0].error)
    assert seen[-1].present == {"a"}
    world.writing.clear()
    scan = world.scan(after=1.0)
    assert (handed(scan), scan.errors) == ({"a": (b"AB", None)}, ())


def test_touch_is_no_change(world: World) -> None:
    """Equal content under a new signature, by touch or by replacement, is not handed out."""
    world.put("a.wasm", b"A")
    world.start()
    world.quiet()
    world.put("a.wasm", b"A", inode=0)
    scans = [world.scan(after=0.5) for _ in range(3)]
    assert [handed(scan) for scan in scans] == [{}, {}, {}]
    assert world.reads == ["a.wasm"]


def test_same_size_and_mtime_is_noticed(world: World) -> None:
    """Other content with equal size and modification time differs in its change time."""
    world.put("a.wasm", b"A")
    world.start()
    world.quiet()
    old = world.signatures["a.wasm"]
    world.contents["a.wasm"] = b"B"
    world.signatures["a.wasm"] = old._replace(ctime_ns=old.ctime_ns + 1)
    world.scan()
    assert handed(world.scan(after=T.stable)) == {"a": (b"B", None)}


def test_fresh_file_is_read_twice(world: World) -> None:
    """A write hidden by a coarse time stamp is found by a second read; an old file gets none."""
    world.put("old.wasm", b"O")
    world.wall += 3600
    world.now += 3600
    world.put("a.wasm", b"A")
    world.signatures["a.wasm"] = Signature(1, 99, 1, int(world.wall * 1e9), int(world.wall * 1e9))
    world.signatures["old.wasm"] = Signature(1, 98, 1, 0, 0)
    scan = world.start()
    assert scan.pending_until == pytest.approx(world.now + T.confirm)
    world.contents["a.wasm"] = b"B"
    assert handed(world.scan(after=T.confirm)) == {"a": (b"B", None)}
    assert handed(world.scan(after=T.confirm)) == {}
    assert world.scan(after=100).pending_until is None
    assert world.reads == ["a.wasm", "old.wasm", "a.wasm", "a.wasm"]


@pytest.mark.parametrize("step", [-86400.0, 86400.0], ids=["back", "forth"])
def test_clock_that_steps_hides_no_write(world: World, step: float) -> None:
    """A file that was seen to change is read twice also when the clock has stepped since."""
    world.put("a.wasm", b"A")
    world.start()
    world.quiet()
    world.put("a.wasm", b"B")
    world.wall += step
    world.scan()
    assert handed(world.scan(after=T.stable)) == {"a": (b"B", None)}
    world.contents["a.wasm"] = b"C"
    assert handed(world.scan(after=T.confirm)) == {"a": (b"C", None)}


def test_deleted_plugin_is_removed_once(world: World) -> None:
    """A missing file is removed after half a second, and told once."""
    world.put("a.wasm", b"A")
    world.start()
    world.quiet()
    world.delete("a.wasm")
    scan = world.scan()
    assert (scan.removed, scan.present) == (frozenset(), {"a"})
    assert scan.pending_until == pytest.approx(world.now + T.gone)
    scan = world.scan(after=T.gone)
    assert (scan.removed, scan.present) == ({"a"}, frozenset())
    assert world.scan(after=1) == Scan()


@pytest.mark.parametrize("replaced", [False, True])
def test_what_went_long_ago_is_removed_at_the_first_look(world: World, replaced: bool) -> None:
    """A process that was forked does not serve what its parent had; the folder tells since when."""
    world.put("a.wasm", b"A")
    world.start()
    world.delete("a.wasm")
    world.identity = (1, 2) if replaced else world.identity
    world.changed_at = world.wall - (T.new_folder if replaced else T.gone)
    assert world.start().removed == {"a"}


def test_what_has_just_gone_is_not_removed_at_the_first_look(world: World) -> None:
    """It may be replaced this very moment."""
    world.put("a.wasm", b"A")
    world.start()
    world.delete("a.wasm")
    world.changed_at = world.wall - T.gone / 2
    assert world.start().removed == frozenset()
    assert world.scan(after=T.gone / 2).removed == {"a"}


def test_what_is_half_written_is_unsettled(world: World) -> None:
    """Until it is handed out."""
    world.put("a.wasm", b"A")
    world.writing["a.wasm"] = True
    assert world.start().unsettled == {"a"}
    world.writing["a.wasm"] = False
    scan = world.scan(after=1)
    assert (handed(scan), scan.unsettled) == ({"a": (b"A", None)}, frozenset())


def test_delete_and_recreate_is_no_removal(world: World) -> None:
    """A file that comes back within half a second was replaced, not removed."""
    world.put("a.wasm", b"A")
    world.start()
    world.quiet()
    world.delete("a.wasm")
    world.scan()
    world.now += T.gone * 0.9
    world.put("a.wasm", b"B")
    scans = [world.scan(), world.scan(after=T.stable), world.scan(after=1)]
    assert [scan.removed for scan in scans] == [frozenset()] * 3
    assert handed(scans[1]) == {"a": (b"B", None)}


def test_renamed_plugin_is_one_change(world: World) -> None:
    """Under a new name the plugin is handed out in the scan that removes the old name."""
    world.put("old.wasm", b"A")
    world.start()
    world.quiet()
    world.rename("old.wasm", "new.wasm")
    world.scanner.hint("moved", "new.wasm")
    assert world.scan().removed == frozenset()
    scan = world.scan(after=T.moved)
    assert (handed(scan), scan.removed) == ({"new": (b"A", None)}, {"old"})
    assert scan.present == {"new"}


def test_module_and_manifest_are_one_change(world: World) -> None:
    """When both files change they are handed out together, once."""
    world.put("a.wasm", b"A")
    world.put("a.toml", b"1")
    world.start()
    world.quiet()
    world.put("a.wasm", b"B")
    world.scanner.hint("moved", "a.wasm")
    assert handed(world.scan(after=T.moved)) == {}
    world.put("a.toml", b"2")
    world.scanner.hint("moved", "a.toml")
    assert handed(world.scan(after=T.settle - T.moved)) == {}
    assert handed(world.scan(after=T.settle)) == {"a": (b"B", b"2")}
    assert handed(world.scan(after=1)) == {}


def test_module_waits_for_a_manifest_being_written(world: World) -> None:
    """A whole module is held back while its manifest is not."""
    world.put("a.wasm", b"A")
    world.put("a.toml", b"1")
    world.start()
    world.quiet()
    world.put("a.wasm", b"B")
    world.put("a.toml", b"")
    world.writing["a.toml"] = True
    assert [handed(world.scan(after=0.2)) for _ in range(5)] == [{}] * 5
    world.put("a.toml", b"2")
    world.writing.clear()
    world.scan()
    assert handed(world.scan(after=1)) == {"a": (b"B", b"2")}


def test_manifest_alone_is_a_change(world: World) -> None:
    """A manifest added, edited or deleted hands the plugin out with the same module."""
    world.put("a.wasm", b"A")
    first = world.start().candidates[0]
    world.quiet()
    found = []
    for content in (b"1", b"2", None):
        if content is None:
            world.delete("a.toml")
        else:
            world.put("a.toml", content)
        world.scan()
        found += world.scan(after=T.gone).candidates
    assert [c.manifest for c in found] == [b"1", b"2", None]
    assert {c.module_digest for c in found} == {first.module_digest}
    assert found[-1].digest == first.digest
    assert len({c.digest for c in found}) == 3


def test_many_at_once_are_one_scan(world: World) -> None:
    """Plugins that become readable in a row are handed out together."""
    world.start()
    for number in range(20):
        world.put(f"p{number:02}.wasm", b"A")
        world.scanner.hint("moved", f"p{number:02}.wasm")
        assert handed(world.scan(after=0.005)) == {}
    assert len(world.scan(after=T.moved).candidates) == 20


def test_batch_has_a_limit(world: World) -> None:
    """A plugin waits a quarter of a second at most for others that keep changing."""
    world.start()
    world.put("a.wasm", b"A")
    world.scanner.hint("moved", "a.wasm")
    waited = 0.0
    while not handed(scan := world.scan(after=0.02)):
        waited += 0.02
        assert scan.pending_until is not None
        world.put("b.wasm", f"{waited}".encode())
        world.scanner.hint("closed", "b.wasm")
    assert handed(scan) == {"a": (b"A", None)}
    assert waited <= T.moved + T.batch + 0.02


def test_two_modules_of_one_name_are_an_error(world: World) -> None:
    """With x.wasm and x.wat both there neither is handed out, and the error names both."""
    world.put("x.wasm", b"A")
    world.start()
    world.quiet()
    world.put("x.wat", b"B")
    world.scan()
    scan = world.scan(after=1)
    assert (
        str(scan.errors[0].error) == "x.wasm: x.wasm and x.wat are both there; remove one of them"
    )
    assert (handed(scan), scan.removed, scan.present) == ({}, frozenset(), {"x"})
    world.delete("x.wasm")
    world.scan()
    scan = world.scan(after=T.gone)
    assert (handed(scan), scan.errors) == ({"x": (b"B", None)}, ())
    assert scan.candidates[0].module_path == FOLDER / "x.wat"


def test_too_large_is_not_read(world: World) -> None:
    """A module over the limit is an error, is never read, and unloads nothing."""
    world.put("a.wasm", b"A")
    world.start()
    world.quiet()
    world.put("a.wasm", b"A" * (LIMIT + 1))
    world.scan()
    scan = world.scan(after=1)
    assert ([e.stem for e in scan.errors], scan.present) == (["a"], {"a"})
    assert world.reads == []


def test_empty_module_is_an_error(world: World) -> None:
    """An empty module is an error, and unloads nothing."""
    world.put("a.wasm", b"")
    scan = world.start()
    assert str(scan.errors[0].error) == "a.wasm: is empty; put a WebAssembly module there"
    assert (handed(scan), scan.present) == ({}, {"a"})


def test_problem_is_looked_at_again(world: World) -> None:
    """A file that could not be read is tried again although nothing shows a change."""
    world.put("a.wasm", b"A")
    world.problems["a.wasm"] = PluginFileError("a.wasm", "cannot be read")
    assert [e.stem for e in world.start().errors] == ["a"]
    del world.problems["a.wasm"]
    scan = world.scan(after=T.stale)
    assert (handed(scan), scan.errors) == ({"a": (b"A", None)}, ())


def test_name_that_is_not_text_is_an_error(world: World) -> None:
    """A file name outside UTF-8 is an error that can be logged and sent as JSON."""
    world.put(os.fsdecode(b"\xff.wasm"), b"A")
    (error,) = world.start().errors
    assert error.stem == r"\xff"
    assert str(error.error) == r"\xff.wasm: its name is not printable UTF-8; rename the file"


@pytest.mark.parametrize(
    "name", ["a\nERROR b.wasm", "a\x1b[2J.wasm", "a\u202eb.wasm", "a\x7f.wasm"]
)
def test_name_that_forges_a_log_line_is_an_error(world: World, name: str) -> None:
    """A file name with control characters is not read, and its error is one printable line."""
    world.put(name, b"A")
    (error,) = world.start().errors
    assert world.reads == []
    assert error.stem.isprintable()
    assert str(error.error).isprintable()


def signatures(scan: Scan) -> dict[str, bytes | None]:
    return {c.stem: c.signature for c in scan.candidates}


def test_signature_comes_with_its_module(world: World) -> None:
    """A .sig named after the module is handed out with it, and leaves the digest as it is."""
    for name in ("a.wasm", "b.wat", "c.wasm"):
        world.put(name, b"M")
    world.put("a.wasm.sig", b"S")
    world.put("b.wat.sig", b"T")
    world.put("c.wat.sig", b"another's")
    world.put("c.sig", b"nobody's")
    scan = world.start()
    assert signatures(scan) == {"a": b"S", "b": b"T", "c": None}
    assert len({c.digest for c in scan.candidates}) == 1


@pytest.mark.parametrize("change", ["added", "replaced", "removed"])
def test_changed_signature_is_a_change(world: World, change: str) -> None:
    """A plugin of which only the signature changes is handed out again, once."""
    world.put("a.wasm", b"A")
    if change != "added":
        world.put("a.wasm.sig", b"old")
    world.start()
    world.quiet()
    if change == "removed":
        world.delete("a.wasm.sig")
    else:
        world.put("a.wasm.sig", b"new")
    expected = None if change == "removed" else b"new"
    assert signatures(world.scan()) == {}
    world.now += T.gone
    assert signatures(world.scan()) == {"a": expected}
    assert signatures(world.scan(after=10)) == {}


def test_signature_alone_is_no_plugin(world: World) -> None:
    """A signature whose module is deleted does not keep the plugin there."""
    world.put("a.wasm", b"A")
    world.put("a.wasm.sig", b"S")
    world.start()
    world.quiet()
    world.delete("a.wasm")
    world.scan()
    assert world.scan(after=T.gone).removed == {"a"}
    assert world.scan(after=10) == Scan()


def test_signature_that_is_too_large_is_not_read(world: World) -> None:
    """A signature has a limit of its own; beyond it nothing of the plugin is read."""
    world.put("a.wasm", b"A")
    world.put("a.wasm.sig", b"S" * (MAX_SIGNATURE_SIZE + 1))
    (error,) = world.start().errors
    assert (error.path.name, world.reads) == ("a.wasm.sig", [])


def test_missing_folder_changes_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """While the folder is missing everything stays, with one line in the log."""
    world.put("a.wasm", b"A")
    world.start()
    world.quiet()
    world.error = FileNotFoundError(errno.ENOENT, "No such file or directory")
    scans = [world.scan(after=1) for _ in range(5)]
    assert {scan.removed for scan in scans} == {frozenset()}
    assert {scan.present for scan in scans} == {frozenset({"a"})}
    assert str(scans[0].folder_error).endswith("No such file or directory; put it back")
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_replaced_folder_gets_time_to_fill(world: World) -> None:
    """Plugins missing from a new folder are removed after two seconds, those in it are kept."""
    world.put("a.wasm", b"A")
    world.put("b.wasm", b"B")
    world.start()
    world.quiet()
    world.error = FileNotFoundError(errno.ENOENT, "gone")
    world.scan(after=60)
    world.error = None
    world.identity = (1, 2)
    world.delete("a.wasm")
    world.delete("b.wasm")
    assert world.scan().removed == frozenset()
    world.now += T.new_folder * 0.5
    world.put("a.wasm", b"A2")
    scans = [world.scan(), world.scan(after=T.stable), world.scan(after=T.new_folder)]
    assert handed(scans[1]) == {"a": (b"A2", None)}
    assert [scan.removed for scan in scans] == [frozenset(), frozenset(), {"b"}]


@pytest.mark.parametrize("seen", [True, False])
def test_what_is_gone_is_removed_also_if_it_is_forgotten(world: World, seen: bool) -> None:
    """Somebody decides of a plugin just when its file has been deleted."""
    world.put("a.wasm", b"A")
    world.put("a.toml", b"T")
    world.start()
    world.quiet()
    world.delete("a.wasm")
    if seen:
        assert world.scan().removed == frozenset()
    world.scanner.forget("a")
    assert world.scan().removed == frozenset()
    assert world.scan(after=T.gone).removed == {"a"}
    assert world.scan(after=T.gone) == Scan()


def test_forget_hands_out_again(world: World) -> None:
    """A forgotten plugin is handed out at the next scan, although nothing changed."""
    world.put("a.wasm", b"A")
    world.put("b.wasm", b"B")
    world.start()
    world.quiet()
    world.scanner.forget("a")
    assert handed(world.scan()) == {"a": (b"A", None)}
    world.scanner.forget()
    assert handed(world.scan()) == {"a": (b"A", None), "b": (b"B", None)}


def test_quiet_folder_needs_no_second_look(world: World) -> None:
    """When all is handed out and confirmed, a scan asks for no other and reads nothing."""
    world.put("a.wasm", b"A")
    world.put("a.toml", b"1")
    world.start()
    world.quiet()
    assert world.scan(after=1) == Scan(present=frozenset({"a"}))
    assert world.reads == []


def test_seconds_left_is_never_negative() -> None:
    """The time to the next scan counts from now, and is 0 when it has passed."""
    scan = Scan(pending_until=10.0)
    assert (scan.seconds_left(9.5), scan.seconds_left(11.0)) == (0.5, 0.0)
    assert Scan().seconds_left(1.0) is None
