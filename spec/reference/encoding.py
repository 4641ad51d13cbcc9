"""Canonical decoding (spec/02-encoding.md) of the types that the vectors hold.

A reader returns plain tuples and dictionaries; what it refuses it names by rule.
"""


class Refused(Exception):
    """The id of the rule that bytes break."""


class Reader:
    def __init__(self, data):
        self.data, self.at, self.canonical = data, 0, True

    def take(self, count):
        if self.at + count > len(self.data):
            raise Refused("ENC-02")
        self.at += count
        return self.data[self.at - count : self.at]

    def varint(self, bits):
        """A number of at most `bits`; one longer than needed is remembered, not refused at once."""
        value, shift = 0, 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
            if shift >= bits:
                raise Refused("ENC-02")
        if value >> bits:
            raise Refused("ENC-02")
        if byte == 0 and shift > 7:
            self.canonical = False
        return value

    def byte(self):
        return self.take(1)[0]

    def flag(self):
        value = self.byte()
        if value > 1:
            raise Refused("ENC-02")
        return value == 1

    def tag(self, count):
        value = self.varint(32)
        if value >= count:
            raise Refused("ENC-02")
        return value

    def bounded(self, most):
        count = self.varint(64)
        if count > most:
            raise Refused("ENC-02")
        return count

    def octets(self, most):
        return self.take(self.bounded(most))

    def list(self, most, read):
        return [read() for _ in range(self.bounded(most))]

    def option(self, read):
        return read() if self.flag() else None

    def point(self):
        return ("time", self.varint(32)) if self.tag(2) else ("height", self.varint(64))

    def outpoint(self):
        return (self.take(32), self.varint(32))

    def inner_lock(self):
        return self.lock(tags=3)

    def lock(self, tags=5):
        tag = self.tag(tags)
        if tag == 0:
            return ("key", self.take(32))
        if tag == 1:
            return ("threshold", self.byte(), self.list(16, lambda: self.take(32)))
        if tag == 2:
            return ("hash_lock", self.take(32), self.take(32), self.take(32), self.point())
        if tag == 3:
            return ("after", self.point(), self.inner_lock())
        return ("data", self.octets(256))

    def output(self):
        return (self.varint(64), self.lock())

    def coin(self):
        return (self.output(), self.varint(64), self.flag())

    def witness(self):
        tag = self.tag(4)
        if tag == 0 or tag == 3:
            return (("key", "", "", "refund")[tag], self.take(32), self.take(64))
        if tag == 1:
            return ("threshold", self.varint(16), self.list(16, lambda: self.take(64)))
        return ("claim", self.take(32), self.take(32), self.take(64))

    def transaction(self):
        start = self.at
        parts = {
            "version": self.varint(32),
            "inputs": self.list(3100, self.outpoint),
            "outputs": self.list(33400, self.output),
            "valid_from": self.point(),
        }
        parts["body"], middle = self.data[start : self.at], self.at
        parts["witnesses"] = self.list(3100, self.witness)
        parts["witness_bytes"] = self.data[middle : self.at]
        return parts

    def extension(self):
        switch = lambda: (self.varint(32), self.take(32), self.varint(64), self.varint(64))
        return {
            "ext_version": self.byte(), "height": self.varint(64), "state_root": self.take(32),
            "tx_count": self.varint(32), "attachments_hash": self.take(32), "ruleset_id": self.take(32),
            "schedule_hash": self.take(32), "switch": switch(), "set_hash": self.take(32),
            "next_set_hash": self.take(32), "proposer": self.varint(16), "proposed_round": self.varint(32),
            "seed_reveal": self.octets(96),
            "commitments": self.list(8, lambda: (self.varint(16), self.take(32))),
        }  # fmt: skip

    def header_record(self):
        seal = lambda: self.octets(36 * 1024)
        return {
            "header": self.take(80), "coinbase_id": self.take(32), "tx_root": self.take(32),
            "extension": self.extension(), "parent_seal": self.option(seal),
            "anchor_cert": self.option(seal), "seal": self.option(seal),
        }  # fmt: skip

    def goodbye(self):
        return self.varint(64)

    def tx_batch(self):
        return self.list(64, self.transaction)

    def status(self):
        return (
            self.varint(16), self.take(32), self.take(32), self.take(32), self.varint(64), self.take(32),
            self.varint(64), self.take(32), self.varint(64), self.take(32), self.take(32), self.varint(64),
            self.varint(64), self.varint(16),
        )  # fmt: skip

    def sync_request(self):
        ids = lambda most: self.list(most, lambda: self.take(32))
        number32, number64 = lambda: self.varint(32), lambda: self.varint(64)
        forms = [
            lambda: (ids(64), self.take(32), number32()),
            lambda: (ids(64), number32()),
            lambda: (number64(), number32()),
            lambda: ids(128),
            lambda: (number64(), number32()),
            lambda: ids(1024),
            lambda: (self.take(32), self.list(4096, number32)),
            lambda: self.take(32),
        ]
        tag = self.tag(len(forms))
        return tag, forms[tag]()

    def sync_response(self):
        proof = lambda: (self.varint(32), self.varint(32), self.list(32, lambda: self.take(32)))
        error = [lambda: None] * 3 + [lambda: self.varint(32), lambda: self.varint(64)]
        forms = [
            lambda: error[self.tag(5)](),
            lambda: self.list(2048, self.header_record),
            lambda: self.list(2048, lambda: self.take(80)),
            lambda: self.list(128, self.block),
            lambda: self.list(4096, self.transaction),
            lambda: (self.header_record(), proof(), self.transaction()),
        ]
        tag = self.tag(len(forms))
        return tag, forms[tag]()

    def coinbase(self):
        inner = Reader(self.octets(4_065_536))
        parts = (inner.take(4), inner.take(8), inner.take(16), inner.list(33400, inner.output))
        # A coinbase is canonical by itself, or the block around it does not decode.
        if inner.at != len(inner.data) or not inner.canonical:
            raise Refused("ENC-02")
        return parts, inner.data

    def attachments(self):
        seal = lambda: self.octets(36 * 1024)
        return seal(), seal(), self.list(8, lambda: self.octets(16 * 1024))

    def block(self):
        header, extension_at = self.take(80), self.at
        extension = self.extension()
        parts = {"header": header, "extension": extension, "extension_bytes": self.data[extension_at : self.at]}
        parts["coinbase"] = self.coinbase()
        attachments_at = self.at
        parts["attachments"] = self.attachments()
        parts["attachments_bytes"] = self.data[attachments_at : self.at]
        parts["transactions"] = self.list(25000, self.transaction)
        return parts


def decode(kind, data, most=2**24):
    """One value of this kind that takes all of `data`."""
    if len(data) > most:
        raise Refused("ENC-01")
    reader = Reader(data)
    value = getattr(reader, kind)()
    if not reader.canonical or reader.at != len(data):
        raise Refused("ENC-03")
    return value
