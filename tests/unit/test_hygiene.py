"""Where others may write and where links lead: what is refused, what is warned of, what is fine."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from plugin_host.config import Settings
from plugin_host.errors import PluginFileError
from plugin_host.folder import hygiene as rules
from plugin_host.folder.hygiene import Hygiene
from plugin_host.folder.scanner import FolderScanner
from plugin_host.folder.wholefile import PluginFolder

pytestmark = pytest.mark.skipif(os.name != "posix", reason="uses POSIX modes and links")

needs_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives files to other users"
)
NOBODY = 65534
SOMEBODY = 54321


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A private folder with a plugins folder in it, and a plugin of three files."""
    folder = tmp_path / "site" / "plugins"
    folder.mkdir(parents=True)
    for name in ("a.wasm", "a.toml", "a.wasm.sig"):
        (folder / name).write_bytes(b"content")
        (folder / name).chmod(0o644)
    for place in (folder, folder.parent):
        place.chmod(0o755)
    return folder


def read(folder: Path, name: str = "a.wasm", mode: rules.Mode = "refuse", *links: Path) -> bytes:
    whole = PluginFolder(folder, Hygiene(folder, mode, links)).read(name, 100, False)
    assert whole is not None
    return whole.content


def test_a_tidy_folder_is_read_without_a_word(site: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Files and folders that only their owner may write pass."""
    for name in os.listdir(site):
        assert read(site, name) == b"content"
        assert read(site, name, "warn") == b"content"
    assert caplog.messages == []


@pytest.mark.parametrize("name", ["a.wasm", "a.toml", "a.wasm.sig"])
@pytest.mark.parametrize("mode", [0o666, 0o646, 0o664], ids=oct)
def test_a_file_that_others_may_write_is_refused(
    site: Path, name: str, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Module, manifest and signature each; the message says the mode and the remedy."""
    monkeypatch.setattr(rules, "_is_private_group", lambda uid, gid: False)
    (site / name).chmod(mode)
    with pytest.raises(PluginFileError) as error:
        read(site, name)
    assert str(error.value) == (
        f"{name}: can be written by other users (mode {mode:04o}); correct that with chown or"
        f" chmod go-w '{site / name}', or set PLUGIN_HOST_HYGIENE"
    )


@pytest.mark.parametrize("place", ["plugins", "site"])
@pytest.mark.parametrize("mode", [0o777, 0o757, 0o775], ids=oct)
def test_a_folder_that_others_may_write_is_refused(
    site: Path, place: str, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plugins folder and those above it: whoever writes there can replace what is below."""
    monkeypatch.setattr(rules, "_is_private_group", lambda uid, gid: False)
    folder = site if place == "plugins" else site.parent
    folder.chmod(mode)
    with pytest.raises(PluginFileError, match=f"lies below '{folder}', which can be written by"):
        read(site)


def test_a_sticky_folder_above_is_fine_and_the_folder_itself_is_not(site: Path) -> None:
    """The sticky bit keeps others from replacing a folder, not from putting files into it."""
    site.parent.chmod(0o1777)
    assert read(site) == b"content"
    site.chmod(0o1777)
    with pytest.raises(PluginFileError, match="mode 1777"):
        read(site)


def test_a_users_own_group_is_no_group_of_others(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writable by a group that is called like the owner and has no other member passes."""
    import grp
    import pwd

    (site / "a.wasm").chmod(0o664)
    status = (site / "a.wasm").stat()
    user = pwd.getpwuid(status.st_uid).pw_name
    members: list[str] = []
    names = {"group": user}

    def group(gid: int) -> grp.struct_group:
        assert gid == status.st_gid
        return grp.struct_group((names["group"], "x", gid, members))

    monkeypatch.setattr(grp, "getgrgid", group)
    assert read(site) == b"content"
    members.append(user)
    assert read(site) == b"content"
    members.append("mallory")
    with pytest.raises(PluginFileError):
        read(site)
    members.clear()
    names["group"] = "staff"
    with pytest.raises(PluginFileError):
        read(site)
    names["group"] = user
    (site / "a.wasm").chmod(0o666)
    with pytest.raises(PluginFileError):
        read(site)


def test_a_group_that_is_anothers_first_one_is_a_group_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The system does not list them as its members."""
    import grp
    import pwd

    users = [pwd.struct_passwd(("deploy", "x", SOMEBODY, 700, "", "/", "/bin/sh"))]
    monkeypatch.setattr(grp, "getgrgid", lambda gid: grp.struct_group(("deploy", "x", gid, [])))
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: users[0])
    monkeypatch.setattr(pwd, "getpwall", lambda: users)
    assert rules._is_private_group(SOMEBODY, 700)
    users.append(pwd.struct_passwd(("mallory", "x", NOBODY, 700, "", "/", "/bin/sh")))
    assert not rules._is_private_group(SOMEBODY, 700)


def test_a_warning_is_given_once_for_each_place(
    site: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By default the file is read, and one line names the place, what is wrong and the remedy."""
    site.chmod(0o777)
    (site / "a.wasm").chmod(0o666)
    folder = PluginFolder(site, Hygiene(site, "warn"))
    for _ in range(3):
        for name in ("a.wasm", "a.toml"):
            assert folder.read(name, 100, False) is not None
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    first, second = caplog.messages
    assert first.startswith(
        f"plugins folder: '{site / 'a.wasm'}' can be written by other users (mode 0666)"
    )
    assert second.startswith(f"plugins folder: '{site}' can be written by other users (mode 0777)")
    assert all("chmod go-w" in message for message in caplog.messages)


def test_off_says_nothing(site: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With PLUGIN_HOST_HYGIENE=off modes are not looked at."""
    site.chmod(0o777)
    assert read(site, "a.wasm", "off") == b"content"
    assert caplog.messages == []


@needs_root
def test_another_users_file_is_refused(site: Path) -> None:
    """A file of a user who neither is root, nor serves, nor owns the folder."""
    os.chown(site / "a.wasm", SOMEBODY, SOMEBODY)
    with pytest.raises(PluginFileError, match=f"belongs to user {SOMEBODY}, neither root nor"):
        read(site)


@needs_root
def test_a_folder_given_to_a_deploy_user_is_fine(site: Path) -> None:
    """Whoever owns the plugins folder may own the files in it, but not the folders above."""
    for place in (site, site / "a.wasm"):
        os.chown(place, SOMEBODY, SOMEBODY)
    assert read(site) == b"content"
    os.chown(site.parent, NOBODY, NOBODY)
    with pytest.raises(PluginFileError, match=f"which belongs to user {NOBODY}"):
        read(site)


def test_a_read_only_file_system_is_fine(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is mounted read-only, as volumes of Kubernetes are, nobody can write to."""
    site.chmod(0o777)
    mounted = {str(site)}
    statvfs = os.statvfs

    def look(place: str) -> object:
        found = statvfs(place)
        flags = found.f_flag | (os.ST_RDONLY if place in mounted else 0)
        return SimpleNamespace(f_flag=flags)

    monkeypatch.setattr(os, "statvfs", look)
    assert read(site) == b"content"
    mounted.clear()
    with pytest.raises(PluginFileError, match="mode 0777"):
        read(site)


# Links


def release(site: Path) -> Path:
    """A private folder beside the plugins folder, with another build."""
    folder = site.parent / "releases"
    folder.mkdir(mode=0o755)
    (folder / "a.wasm").write_bytes(b"release")
    (folder / "a.wasm").chmod(0o644)
    return folder


@pytest.mark.parametrize("mode", ["warn", "refuse", "off"])
def test_a_link_out_of_the_folder_is_refused(site: Path, mode: rules.Mode) -> None:
    """In every mode; the message says where it leads and how to allow that."""
    target = release(site) / "a.wasm"
    (site / "b.wasm").symlink_to("../releases/a.wasm")
    with pytest.raises(PluginFileError) as error:
        read(site, "b.wasm", mode)
    assert str(error.value) == (
        f"b.wasm: is a link to {target}, which is outside of the plugins folder; put the file"
        f" there, or add '{target.parent}' to PLUGIN_HOST_ALLOW_LINKS"
    )


def test_a_link_into_an_allowed_folder_is_followed(site: Path) -> None:
    """An allowed folder counts with all below it, by where it really is, and not one beside it."""
    releases = release(site)
    (site / "b.wasm").symlink_to(releases / "a.wasm")
    alias = site.parent / "alias"
    alias.symlink_to("releases")
    assert read(site, "b.wasm", "refuse", releases) == b"release"
    assert read(site, "b.wasm", "refuse", site.parent) == b"release"
    assert read(site, "b.wasm", "refuse", alias) == b"release"
    with pytest.raises(PluginFileError, match="outside"):
        read(site, "b.wasm", "refuse", site.parent / "rel")


def test_where_an_allowed_link_leads_is_looked_at_too(site: Path) -> None:
    """Others who can write where a link leads can replace the plugin."""
    releases = release(site)
    (site / "b.wasm").symlink_to(releases / "a.wasm")
    releases.chmod(0o777)
    with pytest.raises(PluginFileError, match=f"lies below '{releases}'"):
        read(site, "b.wasm", "refuse", releases)


def test_links_within_the_folder_are_followed(site: Path) -> None:
    """As on a volume of Kubernetes, where ..data is a link that is swapped."""
    for number in "12":
        (site / f"..{number}").mkdir(mode=0o755)
        (site / f"..{number}" / "c.wasm").write_bytes(number.encode())
    (site / "..data").symlink_to("..1")
    (site / "c.wasm").symlink_to("..data/c.wasm")
    assert read(site, "c.wasm") == b"1"
    (site / "..next").symlink_to("..2")
    os.replace(site / "..next", site / "..data")
    assert read(site, "c.wasm") == b"2"


def test_the_folder_itself_may_be_a_link(site: Path) -> None:
    """What is in the folder it leads to counts as in the folder."""
    link = site.parent / "current"
    link.symlink_to("plugins")
    assert read(link) == b"content"


@pytest.mark.parametrize("whose", ["the folder's", "a file's"])
def test_folders_that_hold_a_link_on_the_way_are_looked_at(site: Path, whose: str) -> None:
    """Where others can replace a link that another one leads to they can replace the plugin."""
    between = site.parent / "between"
    between.mkdir()
    between.chmod(0o755)
    (between / "plugins").symlink_to(site)
    (site.parent / "link").symlink_to("between/plugins")
    (site / "b.wasm").symlink_to("../link/a.wasm")
    where = (site.parent / "link", "a.wasm") if whose == "the folder's" else (site, "b.wasm")
    assert read(*where) == b"content"
    between.chmod(0o777)
    with pytest.raises(PluginFileError, match=f"lies below '{between}', which can be written by"):
        read(*where)


def test_up_from_a_link_is_up_from_where_it_leads(site: Path, tmp_path: Path) -> None:
    """As where the app's own folder, which the plugins folder is named by, is a link."""
    app = site.parent / "app"
    app.mkdir(mode=0o755)
    (tmp_path / "app").symlink_to(app)
    folder = tmp_path / "app" / ".." / "plugins"
    assert read(folder) == b"content"
    site.chmod(0o777)
    with pytest.raises(PluginFileError, match=f"lies below '{site}', which can be written by"):
        read(folder)


def test_a_folder_that_is_swapped_during_the_look_is_looked_at_again(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two releases no file is said to lie outside."""
    other = site.parent / "other"
    other.mkdir()
    (other / "a.wasm").write_bytes(b"other")
    link = site.parent / "current"
    link.symlink_to("plugins")
    real = os.path.realpath

    def swapping(path: os.PathLike[str] | str, *, strict: bool = False) -> str:
        found = real(path, strict=strict)
        if path == link:
            link.unlink()
            link.symlink_to("other")
        return found

    monkeypatch.setattr(os.path, "realpath", swapping)
    assert PluginFolder(link, Hygiene(link)).read("a.wasm", 100, False) is None


def test_another_file_than_the_approved_one_is_not_handed_out(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that changes hands between the look and the reading is read again later."""
    approve = Hygiene.approve

    def late(self: Hygiene, path: Path) -> os.stat_result | None:
        status = approve(self, path)
        os.replace(site / "a.toml", site / "a.wasm")
        return status

    monkeypatch.setattr(Hygiene, "approve", late)
    assert PluginFolder(site, Hygiene(site)).read("a.wasm", 100, False) is None


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.symlink_to(os.devnull)


def _socket(path: Path) -> None:
    os.mknod(path, 0o600 | stat.S_IFSOCK)


@pytest.mark.parametrize("make", [_fifo, _device, _socket])
def test_what_is_no_file_is_never_opened(
    site: Path, make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe, a device or a socket under a plugin's name is an error without being opened."""
    make(site / "b.wasm")
    opened: list[object] = []
    monkeypatch.setattr(os, "open", lambda path, *rest, **more: opened.append(path))
    hygiene = Hygiene(site, "warn", [Path("/")])
    with pytest.raises(PluginFileError, match="is not a regular file"):
        PluginFolder(site, hygiene).read("b.wasm", 100, False)
    folder = PluginFolder(site, hygiene)
    scanner = FolderScanner(site, max_module_size=100, files=folder)
    monkeypatch.setattr(
        folder, "listing", lambda: PluginFolder(site).listing()._replace(names=["b.wasm"])
    )
    (problem,) = scanner.scan(initial=True).errors
    assert problem.error.reason == "is not a regular file"
    assert opened == []


def test_a_correction_is_noticed_without_a_change_of_the_file(site: Path) -> None:
    """A plugin that was refused for its folder's sake is handed out once that is corrected."""
    now = [0.0]
    folder = PluginFolder(site, Hygiene(site, "refuse"))
    scanner = FolderScanner(site, max_module_size=100, clock=lambda: now[0], files=folder)
    site.chmod(0o777)
    scan = scanner.scan(initial=True)
    assert [error.stem for error in scan.errors] == ["a"]
    assert scan.pending_until is not None
    site.chmod(0o755)
    now[0] = scan.pending_until
    scan = scanner.scan()
    assert ([c.stem for c in scan.candidates], scan.errors) == (["a"], ())


def test_the_configuration_sets_the_rules(site: Path) -> None:
    """PLUGIN_HOST_HYGIENE and PLUGIN_HOST_ALLOW_LINKS are followed."""
    (site / "b.wasm").symlink_to(release(site) / "a.wasm")
    site.parent.chmod(0o777)
    config = {"PLUGIN_HOST_DIR": "plugins", "PLUGIN_HOST_ALLOW_LINKS": "releases"}
    folder = PluginFolder.of(Settings.from_mapping(config, site.parent))
    whole = folder.read("b.wasm", 100, False)
    assert whole is not None
    assert whole.content == b"release"
    config["PLUGIN_HOST_HYGIENE"] = "refuse"
    folder = PluginFolder.of(Settings.from_mapping(config, site.parent))
    with pytest.raises(PluginFileError, match="mode 0777"):
        folder.read("b.wasm", 100, False)
