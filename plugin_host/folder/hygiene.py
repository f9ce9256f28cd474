"""Who else could have put a plugin's file where it is, and where a link leads.

Two rules. A file may be reached only within the plugins folder or an allowed one: a link that
leads elsewhere is refused. And what can be written by others (the file, or any folder through which
it could be replaced) is refused, or worth a warning.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from plugin_host.errors import PluginFileError

_log = logging.getLogger(__name__)

Mode = Literal["warn", "refuse", "off"]

#: Links that a way may have, as for the kernel.
_MAX_LINKS = 40


class Hygiene:
    """The rules for the files of one folder.

    :param mode: what happens where others may write.
    :param links: folders that links may lead into, besides the plugins folder itself.
    """

    def __init__(self, folder: Path, mode: Mode = "warn", links: Iterable[Path] = ()) -> None:
        self.folder = folder
        self._mode = mode
        self._links = tuple(links)
        self._warned: set[str] = set()

    def approve(self, path: Path) -> os.stat_result | None:
        """Return the status of the file that may be read under this name.

        None if it, or the folder, is being replaced: look again.

        :raises PluginFileError: it may not be read; the file was not opened.
        :raises OSError: where it leads cannot be told.
        """
        root = os.path.realpath(self.folder)
        try:
            real = os.path.realpath(path, strict=True)
            status = os.stat(real)
        except FileNotFoundError:
            return None
        if not self._is_allowed(real, root):
            if os.path.realpath(self.folder) != root:
                return None
            raise PluginFileError(
                path,
                f"is a link to {real}, which is outside of the plugins folder",
                f"put the file there, or add {os.path.dirname(real)!r} to PLUGIN_HOST_ALLOW_LINKS",
            )
        if self._mode != "off" and hasattr(os, "geteuid"):
            self._check_writers(path, real, root)
        return status

    def _is_allowed(self, real: str, root: str) -> bool:
        tops = (root, *map(os.path.realpath, self._links))
        return any(_is_below(real, top) for top in tops)

    def _check_writers(self, path: Path, real: str, root: str) -> None:
        trusted = {0, os.geteuid(), os.stat(root).st_uid}
        for place in (real, *_folders(path.absolute())):
            status = os.stat(place)
            # Where others may add files but not replace ours, as in /tmp, a folder of ours is safe.
            sticky = bool(status.st_mode & stat.S_ISVTX) and not _is_below(place, root)
            problem = _problem(status, trusted, sticky)
            if problem and not _is_read_only(place):
                self._found(path, place, problem)

    def _found(self, path: Path, place: str, problem: str) -> None:
        remedy = f"correct that with chown or chmod go-w {place!a}, or set PLUGIN_HOST_HYGIENE"
        if self._mode == "refuse":
            where = "" if os.path.isfile(place) else f"lies below {place!a}, which "
            raise PluginFileError(path, where + problem, remedy)
        if place not in self._warned:
            self._warned.add(place)
            _log.warning(
                "plugins folder: %a %s, who could replace plugins; %s", place, problem, remedy
            )


def _folders(path: Path) -> Iterator[str]:
    """Yield each folder on the way to a file, by its real name: also those that hold its links.

    :param path: absolute; what goes up from a link (``link/..``) goes up from where it leads.
    :raises OSError: a name on the way is being replaced.
    """
    seen: set[str] = set()
    folder, links = "/", 0
    names = str(path).split("/")[::-1]
    while names:
        name = names.pop()
        if name in ("", "."):
            continue
        if folder not in seen:
            seen.add(folder)
            yield folder
        if name == "..":
            folder = os.path.dirname(folder)
            continue
        place = os.path.join(folder, name)
        try:
            target = os.readlink(place)
        except OSError as exc:
            if exc.errno != errno.EINVAL:
                raise
            folder = place  # no link
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        if target.startswith("/"):
            folder = "/"
        names += target.split("/")[::-1]


def _problem(status: os.stat_result, trusted: set[int], sticky: bool) -> str:
    """Say why others can write somewhere; nothing if they cannot."""
    if status.st_uid not in trusted:
        return f"belongs to user {status.st_uid}, neither root nor owner of the plugins folder"
    mode = stat.S_IMODE(status.st_mode)
    if sticky or not mode & 0o022:
        return ""
    if not mode & 0o002 and _is_private_group(status.st_uid, status.st_gid):
        return ""
    return f"can be written by other users (mode {mode:04o})"


def _is_private_group(uid: int, gid: int) -> bool:
    """Whether a group is its user's alone, by the custom that gives each user such a group."""
    try:
        import grp
        import pwd

        user, group = pwd.getpwuid(uid), grp.getgrgid(gid)
    except (ImportError, KeyError):  # a user or group without a name
        return False
    if group.gr_name != user.pw_name or not set(group.gr_mem) <= {user.pw_name}:
        return False
    # Users whose first group it is are not listed among its members; root's has some that are no
    # people's (sync, operator).
    return uid == 0 or all(each.pw_uid == uid for each in pwd.getpwall() if each.pw_gid == gid)


def _is_read_only(place: str) -> bool:
    """Whether it lies on a file system that nobody can write to from here.

    Volumes of Kubernetes are such, of mode 0777.
    """
    return bool(os.statvfs(place).f_flag & os.ST_RDONLY)


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(os.path.join(folder, ""))
