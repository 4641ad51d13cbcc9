"""BFT (spec/09-bft.md): sets, sign bytes, messages, certificates, seals, evidence.

A judge returns nothing or raises Refused with the id of the rule that is broken.
"""
import ed25519
from blake3 import derive
from encoding import Reader, Refused

NO_ROUND = 2**32 - 1
ZERO = bytes(32)
KINDS = ["pre_prepare", "prepare", "commit", "view_change", "new_view"]
P = 2**255 - 19


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def require(rule, condition):
    if not condition:
        raise Refused(rule)


# Sets


def is_quorum(power, total):
    return 3 * power > 2 * total


def is_weak_quorum(power, total):
    return 3 * power >= total


def check_set(validators):
    require("SET-01", 1 <= len(validators) <= 512)
    require("SET-02", all(power > 0 for _, power in validators))
    require("SET-03", len({key for key, _ in validators}) == len(validators))
    require("SET-04", sum(power for _, power in validators) < 2**64)


def set_hash(rule, validators):
    total = sum(power for _, power in validators)
    listed = b"".join(key + varint(power) for key, power in validators)
    return derive("cairn v1 validator set", bytes([rule]) + varint(total) + varint(len(validators)) + listed)


def check_key(key):
    point = ed25519.decompress(key)
    y = int.from_bytes(key, "little") & (2**255 - 1)
    require("SET-05", point is not None and y < P and not ed25519.is_small_order(point))


def rotation(validators, instance, round):
    return (instance + round) % len(validators)


def draw(validators, seed, instance, round):
    hashed = derive("cairn v1 leader", seed + instance.to_bytes(8, "little") + round.to_bytes(4, "little"))
    point = int.from_bytes(hashed[:16], "little") % sum(validators)
    for index, power in enumerate(validators):
        if point < power:
            return index
        point -= power


# Statements are (kind, round, id, justification, prepared): what a kind lacks is None.


def sign_bytes(scope, statement):
    chain_id, ruleset_id, instance = scope
    kind, round, value, justification, prepared = statement
    out = bytes([KINDS.index(kind) + 1]) + chain_id + ruleset_id + instance.to_bytes(8, "little")
    out += round.to_bytes(4, "little") + (value or ZERO)
    if kind in ("prepare", "new_view"):
        out += justification
    if kind == "view_change":
        prepared_round, prepared_id = prepared or (NO_ROUND, ZERO)
        out += prepared_round.to_bytes(4, "little") + prepared_id
    return out


def message_of(scope, statement):
    return derive("cairn v1 vote", sign_bytes(scope, statement))


def check_statement(statement):
    kind, round, value, justification, prepared = statement
    least = 1 if kind in ("view_change", "new_view") else 0
    require("MSG-03", least <= round < NO_ROUND)
    require("MSG-04", value != ZERO)
    if kind == "prepare":
        require("MSG-05", (round == 0) == (justification == ZERO))
    if prepared:
        require("MSG-06", prepared[0] < round)
        require("MSG-04", prepared[1] != ZERO)


class Bft(Reader):
    """Readers of this chapter's types."""

    def hash(self):
        return self.take(32)

    def round(self):
        return self.varint(32)

    def prepared(self):
        return (self.round(), self.hash())

    def statement(self):
        kind = KINDS[self.tag(5)]
        if kind == "pre_prepare":
            return (kind, 0, self.hash(), None, None)
        if kind == "view_change":
            return (kind, self.round(), None, None, self.option(self.prepared))
        round, value = self.round(), self.hash()
        return (kind, round, value, None if kind == "commit" else self.hash(), None)

    def votes(self):
        return (self.octets(64), self.list(512, lambda: self.take(64)))

    def certificate(self):
        return (self.round(), self.hash(), self.hash(), self.votes())

    def justification(self):
        vote = lambda: (self.option(self.prepared), self.take(64))
        return (self.octets(64), self.list(512, vote), self.option(self.certificate))

    def bft_message(self):
        parts = {"ruleset_id": self.hash(), "instance": self.varint(64), "signer": self.varint(16)}
        kind = KINDS[self.tag(5)]
        certificate = justification = None
        if kind == "pre_prepare":
            statement = (kind, 0, self.hash(), None, None)
        elif kind == "prepare":
            statement = (kind, self.round(), self.hash(), self.hash(), None)
        elif kind == "commit":
            statement = (kind, self.round(), self.hash(), None, None)
        elif kind == "view_change":
            round, certificate = self.round(), self.option(self.certificate)
            statement = (kind, round, None, None, certificate and certificate[:2])
        else:
            start, round, value = self.at, self.round(), self.hash()
            justification = self.justification()
            hashed = derive("cairn v1 new view", self.data[start : self.at])
            statement = (kind, round, value, hashed, None)
        parts.update(statement=statement, certificate=certificate, justification=justification)
        parts["signature"] = self.take(64)
        return parts

    def seal(self):
        return (self.round(), self.votes())

    def evidence(self):
        parts = (self.hash(), self.varint(64), self.take(32))
        return parts + tuple((self.statement(), self.take(64)) for _ in range(2))


def read(kind, data):
    reader = Bft(data)
    value = getattr(reader, kind)()
    if not reader.canonical or reader.at != len(data):
        raise Refused("ENC-03")
    return value


# Judges


def signers_of(bitmap):
    return [at for at in range(8 * len(bitmap)) if bitmap[at // 8] >> at % 8 & 1]


def check_bitmap(validators, bitmap, signatures):
    n = len(validators)
    require("CRT-01", len(bitmap) == (n + 7) // 8)
    signers = signers_of(bitmap)
    require("CRT-02", all(signer < n for signer in signers))
    require("CRT-03", len(signers) == signatures)
    power = sum(validators[signer][1] for signer in signers)
    require("CRT-04", is_quorum(power, sum(power for _, power in validators)))
    return signers, power


def check_votes(scope, validators, statement, votes, jobs):
    """Collects the signatures: they are judged last."""
    bitmap, signatures = votes
    signers, power = check_bitmap(validators, bitmap, len(signatures))
    message = message_of(scope, statement)
    jobs += [(validators[signer][0], signature, message) for signer, signature in zip(signers, signatures)]
    return power


def check_certificate(scope, validators, certificate, jobs):
    round, value, justification, votes = certificate
    statement = ("prepare", round, value, justification, None)
    check_statement(statement)
    check_votes(scope, validators, statement, votes, jobs)


def check_justification(scope, validators, round, value, justification, jobs):
    bitmap, votes, certificate = justification
    signers, _ = check_bitmap(validators, bitmap, len(votes))
    for signer, (prepared, signature) in zip(signers, votes):
        statement = ("view_change", round, None, None, prepared)
        check_statement(statement)
        jobs.append((validators[signer][0], signature, message_of(scope, statement)))
    claims = [prepared for prepared, _ in votes if prepared]
    require("NVW-01", certificate or not claims)
    if certificate:
        highest = max((claimed for claimed, _ in claims), default=0)
        require("NVW-02", highest <= certificate[0] < round)
        named = {named for claimed, named in claims if claimed == certificate[0]}
        require("NVW-03", named <= {value} and certificate[1] == value)
        check_certificate(scope, validators, certificate, jobs)


def judge_message(scope, validators, message):
    _, ruleset_id, instance = scope
    require("MSG-01", message["ruleset_id"] == ruleset_id and message["instance"] == instance)
    require("MSG-02", message["signer"] < len(validators))
    statement, jobs = message["statement"], []
    check_statement(statement)
    if message["certificate"]:
        check_certificate(scope, validators, message["certificate"], jobs)
    if message["justification"]:
        _, round, value, _, _ = statement
        check_justification(scope, validators, round, value, message["justification"], jobs)
    key = validators[message["signer"]][0]
    require("MSG-07", ed25519.verify(key, message["signature"], message_of(scope, statement)))
    require("CRT-05", all(ed25519.verify(*job) for job in jobs))


def judge_seal(scope, validators, value, seal):
    round, votes = seal
    require("MSG-03", round < NO_ROUND)
    jobs = []
    power = check_votes(scope, validators, ("commit", round, value, None, None), votes, jobs)
    require("CRT-05", all(ed25519.verify(*job) for job in jobs))
    return power


def offence_of(first, second):
    kinds, rounds = (first[0], second[0]), (first[1], second[1])
    if kinds[0] == kinds[1]:
        if rounds[0] != rounds[1] or first == second:
            return None
        return "DoubleProposal" if kinds[0] in ("pre_prepare", "new_view") else "DoubleVote"
    pair = {first[0]: first, second[0]: second}
    if set(pair) != {"commit", "view_change"}:
        return None
    committed, (_, to, _, _, prepared) = pair["commit"][1], pair["view_change"]
    return "Amnesia" if to > committed and (prepared is None or prepared[0] < committed) else None


def judge_evidence(chain_id, evidence):
    ruleset_id, instance, key, (first, signature_1), (second, signature_2) = evidence
    scope = (chain_id, ruleset_id, instance)
    check_statement(first)
    check_statement(second)
    offence = offence_of(first, second)
    require("EVD-01", offence)
    require("EVD-02", sign_bytes(scope, first) < sign_bytes(scope, second))
    for statement, signature in ((first, signature_1), (second, signature_2)):
        require("EVD-03", ed25519.verify(key, signature, message_of(scope, statement)))
    return offence, min(first[1], second[1])
