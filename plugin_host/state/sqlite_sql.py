"""The tables in SQLite, and every statement on them.

Each operation on one key is one statement that decides and writes, so no lock is held while Python
runs (docs/rationale.md, "Why is each operation on state one statement?"). Triggers keep two sums:

* ``spaces``: keys and bytes of each namespace, for quotas;
* ``runs``: the sorted keys of a namespace cut into runs of at most 512, with how many each has. A
  prefix is counted by adding up whole runs and looking at keys only at its two ends.

Expired rows are in both until they are swept; counts take them off by the index of what expires.
"""

# ruff: noqa: S608  # what is put together here are constants

from __future__ import annotations

from typing import Final

from .backend import after

#: "ph" and a format; a file of another one is not touched.
APPLICATION: Final = 0x70680001
_RUN: Final = 512
_BEYOND: Final = f"x'{after(b'').hex()}'"  # more than any key

SCHEMA: Final = (
    """CREATE TABLE entries(
        space TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
        expires INTEGER, -- milliseconds since 1970; NULL is never
        PRIMARY KEY(space, key)) WITHOUT ROWID""",
    "CREATE INDEX expiry ON entries(space, expires) WHERE expires IS NOT NULL",
    """CREATE TABLE spaces(
        space TEXT PRIMARY KEY, keys INTEGER NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE runs(
        space TEXT NOT NULL, first BLOB NOT NULL, keys INTEGER NOT NULL,
        PRIMARY KEY(space, first)) WITHOUT ROWID""",
    """CREATE TRIGGER entry_inserted AFTER INSERT ON entries BEGIN
        INSERT INTO spaces SELECT NEW.space, 0, 0
            WHERE NOT EXISTS(SELECT 1 FROM spaces WHERE space = NEW.space);
        UPDATE spaces SET keys = keys + 1, bytes = bytes + length(NEW.key) + length(NEW.value)
            WHERE space = NEW.space;
        UPDATE runs SET keys = keys + 1 WHERE space = NEW.space AND first =
            (SELECT max(first) FROM runs WHERE space = NEW.space AND first <= NEW.key);
    END""",
    """CREATE TRIGGER entry_updated AFTER UPDATE OF value ON entries
        WHEN length(NEW.value) <> length(OLD.value) BEGIN
        UPDATE spaces SET bytes = bytes + length(NEW.value) - length(OLD.value)
            WHERE space = NEW.space;
    END""",
    """CREATE TRIGGER entry_deleted AFTER DELETE ON entries BEGIN
        UPDATE spaces SET keys = keys - 1, bytes = bytes - length(OLD.key) - length(OLD.value)
            WHERE space = OLD.space;
        UPDATE runs SET keys = keys - 1 WHERE space = OLD.space AND first =
            (SELECT max(first) FROM runs WHERE space = OLD.space AND first <= OLD.key);
    END""",
    "CREATE TRIGGER space_inserted AFTER INSERT ON spaces BEGIN"
    " INSERT INTO runs VALUES(NEW.space, x'', 0); END",
    f"""CREATE TRIGGER run_full AFTER UPDATE OF keys ON runs WHEN NEW.keys > {_RUN} BEGIN
        INSERT INTO runs SELECT NEW.space, key, NEW.keys - {_RUN // 2} FROM entries
            WHERE space = NEW.space AND key >= NEW.first ORDER BY key LIMIT 1 OFFSET {_RUN // 2};
        UPDATE runs SET keys = {_RUN // 2} WHERE space = NEW.space AND first = NEW.first;
    END""",
    """CREATE TRIGGER run_empty AFTER UPDATE OF keys ON runs
        WHEN NEW.keys = 0 AND NEW.first <> x'' BEGIN
        DELETE FROM runs WHERE space = NEW.space AND first = NEW.first;
    END""",
)

# Parameters have the same numbers everywhere: 1 namespace, 2 key, 3 now, 4 expiry, 5 most keys,
# 6 most bytes, 7 value, 8 and 9 the bounds of a prefix, 10 a limit.

_ALIVE: Final = "(entries.expires IS NULL OR entries.expires > ?3)"

_ROOM: Final = """(
    NOT EXISTS(SELECT 1 FROM spaces WHERE space = ?1
        AND (keys >= ?5 OR bytes + length(?2) + length({value}) > ?6))
    OR EXISTS(SELECT 1 FROM entries JOIN spaces USING(space) WHERE space = ?1 AND key = ?2
        AND (length({value}) <= length(value) OR bytes + length({value}) - length(value) <= ?6)))"""

_REPLACE: Final = (
    " ON CONFLICT(space, key) DO UPDATE SET value = excluded.value, expires = excluded.expires"
)

# Within one run, the keys are counted; over several, the runs are added up, and what they have
# before and beyond the bounds is taken off: mostly little, as few prefixes have most keys.
_COUNT: Final = f"""(SELECT CASE WHEN a IS NULL THEN 0 WHEN a = z
    THEN (SELECT count(*) FROM entries WHERE space = ?1 AND key >= ?8 AND key < ?9)
    ELSE (SELECT sum(keys) FROM runs WHERE space = ?1 AND first >= a AND first <= z)
        - (SELECT count(*) FROM entries WHERE space = ?1 AND key >= a AND key < ?8)
        - (SELECT count(*) FROM entries WHERE space = ?1 AND key >= ?9 AND key <
            ifnull((SELECT min(first) FROM runs WHERE space = ?1 AND first > z), {_BEYOND})) END
    - (SELECT count(*) FROM entries INDEXED BY expiry
        WHERE space = ?1 AND expires <= ?3 AND key >= ?8 AND key < ?9)
    FROM (SELECT
        (SELECT max(first) FROM runs WHERE space = ?1 AND first <= ?8) AS a,
        (SELECT max(first) FROM runs WHERE space = ?1 AND first < ?9) AS z))"""

# Whether fewer than 10 are within the bounds; where the whole namespace has fewer, nobody counts.
_FEWER: Final = f"""(ifnull((SELECT keys FROM spaces WHERE space = ?1), 0) < ?10
    OR {_COUNT} < ?10)"""

GET: Final = f"SELECT value FROM entries WHERE space = ?1 AND key = ?2 AND {_ALIVE}"

PUT: Final = f"INSERT INTO entries SELECT ?1, ?2, ?7, ?4 WHERE {_ROOM.format(value='?7')}{_REPLACE}"
PUT_IF_ABSENT: Final = f"{PUT} WHERE NOT {_ALIVE}"
PUT_IF_FEWER: Final = (
    f"INSERT INTO entries SELECT ?1, ?2, ?7, ?4 WHERE {_FEWER}"
    f" AND {_ROOM.format(value='?7')}{_REPLACE} WHERE NOT {_ALIVE}"
)
#: 8 is what is expected.
PUT_IF_SAME: Final = f"""UPDATE entries SET value = ?7, expires = ?4
    WHERE space = ?1 AND key = ?2 AND value = ?8 AND {_ALIVE} AND {_ROOM.format(value="?7")}"""
#: `ph_add` decides: NULL is no. With a LIMIT the inner SELECT is not merged into the outer one,
#: which would call it several times.
ADD: Final = f"""INSERT INTO entries
    SELECT ?1, ?2, value, due FROM (
        SELECT ph_add(entries.value) AS value,
            CASE WHEN entries.key IS NULL THEN ?4 ELSE entries.expires END AS due
        FROM (SELECT 1) LEFT JOIN entries ON space = ?1 AND key = ?2 AND {_ALIVE}
        LIMIT 1) AS new
    WHERE value IS NOT NULL AND {_ROOM.format(value="new.value")}{_REPLACE}"""
#: For batches, which look at the quota afterwards: 1 namespace, 2 key, 3 value, 4 expiry.
PUT_ANYWAY: Final = f"INSERT INTO entries VALUES(?1, ?2, ?3, ?4){_REPLACE}"

DELETE: Final = f"DELETE FROM entries WHERE space = ?1 AND key = ?2 AND {_ALIVE}"
DELETE_IF_SAME: Final = f"{DELETE} AND value = ?4"

HAS_ROOM: Final = f"SELECT {_ROOM.format(value='?7')}"
COUNT: Final = f"SELECT {_COUNT}"
ADMITTED: Final = (
    f"SELECT value, CASE WHEN value IS NULL THEN {_FEWER} END FROM (SELECT ({GET}) AS value)"
)
SUMS: Final = "SELECT keys, bytes FROM spaces WHERE space = ?"
SPACES: Final = "SELECT space FROM spaces"
NAMES: Final = """SELECT space FROM spaces WHERE keys >
    (SELECT count(*) FROM entries INDEXED BY expiry
        WHERE entries.space = spaces.space AND expires <= ?) ORDER BY space"""
#: 4 is how many.
LIST: Final = f"""SELECT key, length(value), expires FROM entries
    WHERE space = ?1 AND key >= ?2 AND key < ?5 AND {_ALIVE} ORDER BY key LIMIT ?4"""
#: 3 is how many.
SWEEP: Final = """DELETE FROM entries WHERE space = ?1 AND key IN (
    SELECT key FROM entries INDEXED BY expiry WHERE space = ?1 AND expires <= ?2 LIMIT ?3)"""


def get_many(number: int) -> str:
    """Return the statement that gets so many keys: namespace, keys, now."""
    marks = ",".join("?" * number)
    return (
        f"SELECT key, value FROM entries WHERE space = ? AND key IN ({marks})"
        " AND (expires IS NULL OR expires > ?)"
    )
