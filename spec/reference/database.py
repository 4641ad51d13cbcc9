"""Entries and trees of the database, chapter 13, a second time: checks `database/vectors.json`.

Written from the chapter with Python's standard library. Plain and slow on purpose.
"""

import json
import pathlib
from hashlib import sha256

FILE = pathlib.Path(__file__).parent.parent / "database" / "vectors.json"

ENTRY_MAX, KEY_MAX = 4 << 20, 16 << 10
ROW_MAX = ENTRY_MAX - KEY_MAX - 1024
CHANNEL_MAX, NOTIFICATION_MAX = 63, 7999
MEMBERS_MAX, MEMBER_MAX, PARTS_MAX = 64, 64, 1024


class Broken(Exception):
    """A broken rule, by its id."""


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if self.at + count > len(self.data):
            raise Broken("ENT-02")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, size):
        return int.from_bytes(self.take(size), "little")

    def varint(self, bound=(1 << 64) - 1):
        value = shift = 0
        while True:
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            if value >> 64 or shift > 63:
                raise Broken("ENT-02")
            if byte < 0x80:
                break
            shift += 7
        if byte == 0 and shift:
            raise Broken("ENT-03")
        if value > bound:
            raise Broken("ENT-06")
        return value

    def bytes(self, bound):
        return self.take(self.varint(bound))

    def text(self, bound):
        try:
            return self.bytes(bound).decode()
        except UnicodeDecodeError:
            raise Broken("ENT-03") from None


def read_ids(reader):
    ids = []
    for _ in range(reader.varint(MEMBERS_MAX)):
        one = reader.bytes(MEMBER_MAX)
        if ids and ids[-1] >= one:
            raise Broken("ENT-03")
        ids.append(one)
    return ids


def read_membership(reader):
    origin = reader.number(1)
    if origin > 1:
        raise Broken("ENT-05")
    if origin:
        reader.take(16)
        reader.varint()
        reader.take(32)
    configs = reader.varint(2)
    if configs == 0:
        raise Broken("ENT-10")
    for _ in range(configs):
        if not read_ids(reader):
            raise Broken("ENT-10")
    read_ids(reader)


def read_change(reader):
    """Where the change sorts, and whether it may stand once only."""
    tag = reader.number(1)
    if tag > 9:
        raise Broken("ENT-05")
    if tag in (0, 1):
        key = reader.bytes(KEY_MAX)
        if tag == 0:
            reader.bytes(ROW_MAX)
        return (0, 0, key), True
    if tag == 2:
        number = reader.varint()
        reader.take(8)
        return (1, number, b""), True
    if tag == 3:
        reader.take(8)
        return (2, 0, b""), True
    if tag in (4, 5, 6, 7):
        storage, key = reader.varint(), reader.bytes(KEY_MAX)
        if tag in (4, 6):
            reader.bytes(ROW_MAX)
        return (3, storage, key), True
    if tag == 8:
        reader.text(CHANNEL_MAX)
        reader.text(NOTIFICATION_MAX)
        return (4, 0, b""), False
    read_membership(reader)
    return (5, 0, b""), True


def read_header(reader):
    if reader.number(1) != 1:
        raise Broken("ENT-04")
    kind = reader.number(1)
    if reader.number(2):
        raise Broken("ENT-03")
    changes = reader.number(4)
    if changes > ENTRY_MAX // 2:
        raise Broken("ENT-06")
    reader.take(16)
    commit_ts = reader.number(8)
    reader.take(8 + 8 + 8 + 16 + 8)
    root = reader.take(32)
    if kind > 3:
        raise Broken("ENT-05")
    if kind == 3 and changes != 1:
        raise Broken("ENT-10")
    if kind == 1:
        reader.take(16)
        if reader.number(4) >= PARTS_MAX:
            raise Broken("ENT-06")
        if changes == 0:
            raise Broken("ENT-10")
    if kind == 2:
        reader.take(16)
        decision, parts, resolved = reader.number(1), reader.number(4), reader.number(8)
        if decision > 1:
            raise Broken("ENT-05")
        if decision == 0 and (parts or resolved):
            raise Broken("ENT-03")
        if parts > PARTS_MAX:
            raise Broken("ENT-06")
        if changes or (decision and not (parts and 0 < resolved <= commit_ts)):
            raise Broken("ENT-10")
    return kind, changes, root


def read_entry(data):
    """The header's bytes, the salted changes, and the root that the header names."""
    if len(data) > ENTRY_MAX:
        raise Broken("ENT-01")
    reader = Reader(data)
    kind, count, root = read_header(reader)
    header = data[: reader.at]
    seed = reader.take(16) if count else b""
    salted, last, membership = [], None, False
    for index in range(count):
        if reader.at == len(data):
            raise Broken("ENT-07")
        start = reader.at
        key, once = read_change(reader)
        if last is not None and (key < last or (once and key == last)):
            raise Broken("ENT-09")
        last, membership = key, key[0] == 5
        salt = sha256(b"cairn v1 change salt" + seed + index.to_bytes(4, "little")).digest()[:16]
        salted.append((salt, data[start : reader.at]))
    if reader.at != len(data):
        raise Broken("ENT-07")
    if membership != (kind == 3):
        raise Broken("ENT-10")
    if tree_root([leaf(salt + change) for salt, change in salted]) != root:
        raise Broken("ENT-08")
    return header, salted, root


def leaf(data):
    return sha256(b"\0" + data).digest()


def node(left, right):
    return sha256(b"\1" + left + right).digest()


def split(count):
    """The largest power of two below a count of two or more."""
    return 1 << ((count - 1).bit_length() - 1)


def tree_root(leaves):
    """RFC 6962, section 2.1."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return node(tree_root(leaves[:k]), tree_root(leaves[k:]))


def path(index, leaves):
    """RFC 6962, section 2.1.1."""
    if len(leaves) <= 1:
        return []
    k = split(len(leaves))
    if index < k:
        return path(index, leaves[:k]) + [tree_root(leaves[k:])]
    return path(index - k, leaves[k:]) + [tree_root(leaves[:k])]


def consistency(old, leaves, whole=True):
    """RFC 6962, section 2.1.2."""
    if old == len(leaves):
        return [] if whole else [tree_root(leaves)]
    k = split(len(leaves))
    if old <= k:
        return consistency(old, leaves[:k], whole) + [tree_root(leaves[k:])]
    return consistency(old - k, leaves[k:], False) + [tree_root(leaves[:k])]


def frontier(leaves):
    roots, at = [], 0
    for level in range(63, -1, -1):
        if len(leaves) >> level & 1:
            roots.append(tree_root(leaves[at : at + (1 << level)]))
            at += 1 << level
    return len(leaves).to_bytes(8, "little") + b"".join(roots)


def texts(hashes):
    return [one.hex() for one in hashes]


def check():
    """How many cases agree."""
    file = json.loads(FILE.read_text())
    for case in file["entries"]:
        header, salted, root = read_entry(bytes.fromhex(case["bytes"]))
        assert len(header) == case["header_bytes"], case["name"]
        assert root.hex() == case["changes_root"], case["name"]
        assert leaf(header).hex() == case["leaf"], case["name"]
        leaves = [leaf(salt + change) for salt, change in salted]
        assert len(salted) == len(case["changes"]), case["name"]
        for index, proof in enumerate(case["changes"]):
            salt, change = salted[index]
            found = {"salt": salt.hex(), "change": change.hex(), "path": texts(path(index, leaves))}
            assert proof == found, case["name"]
    for case in file["broken"]:
        try:
            read_entry(bytes.fromhex(case["bytes"]))
        except Broken as broken:
            assert str(broken) == case["rule"], f"{case['rule']}: told as {broken}"
        else:
            raise AssertionError(f"{case['rule']}: passed")
    for size, case in enumerate(file["trees"]):
        leaves = [leaf(bytes([index])) for index in range(size)]
        assert case["size"] == size
        assert case["root"] == tree_root(leaves).hex()
        assert case["frontier"] == frontier(leaves).hex()
        assert case["inclusion"] == [texts(path(index, leaves)) for index in range(size)]
        found = [texts(consistency(old, leaves)) for old in range(1, size + 1)]
        assert case["consistency_from_1"] == found
    return sum(len(file[name]) for name in ("entries", "broken", "trees"))


if __name__ == "__main__":
    print(f"{FILE.name}: {check()} cases agree")
