"""Checks the vectors of this specification with nothing but Python's standard library.

Usage: python3 spec/reference/check.py
Shares no code with the Rust crates. Prints one line a file; ends with an error at the first case
that does not agree.
"""
import hashlib
import json
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))

import asert  # noqa: E402
import bft  # noqa: E402
import bech32m  # noqa: E402
import database  # noqa: E402
import ed25519  # noqa: E402
import encoding  # noqa: E402
from blake3 import blake3, derive  # noqa: E402
from siphash import siphash24  # noqa: E402

VECTORS = pathlib.Path(__file__).parent / ".." / "vectors"
unhex = bytes.fromhex


def sha256(data):
    return hashlib.sha256(data).digest()


def h2(data):
    return sha256(sha256(data))


def same(found, expected, what):
    found = found.hex() if isinstance(found, bytes) else found
    if found != expected:
        raise AssertionError(f"{what}: found {found}, the vectors say {expected}")


def hashes(file):
    functions = {"sha256": sha256, "h2": h2, "key_hash": lambda data: derive("cairn v1 key hash", data)}
    for case in file["cases"]:
        data = unhex(case["input"])
        found = derive(case["context"], data) if case["function"] == "b3" else functions[case["function"]](data)
        same(found, case["output"], case["function"])


def tree(leaves):
    level = leaves
    while len(level) > 1:
        above = [derive("cairn v1 tx node", level[i] + level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = above + ([level[-1]] if len(level) % 2 else [])
    top = level[0] if level else bytes(32)
    return derive("cairn v1 tx root", len(leaves).to_bytes(4, "little") + top)


def leaf(txid, wtxid):
    return derive("cairn v1 tx leaf", txid + wtxid)


def root_of_proof(count, index, siblings, value):
    width, rest = count, list(siblings)
    assert index < count
    while width > 1:
        if index ^ 1 < width:
            sibling = rest.pop(0)
            value = derive("cairn v1 tx node", sibling + value if index % 2 else value + sibling)
        index, width = index // 2, (width + 1) // 2
    assert not rest
    return derive("cairn v1 tx root", count.to_bytes(4, "little") + value)


def header_root(coinbase_id, extension_hash, tx_root):
    return h2(h2(coinbase_id + extension_hash) + tx_root)


def merkle(file):
    for case in file["cases"]:
        leaves = [leaf(unhex(tx["txid"]), unhex(tx["wtxid"])) for tx in case["transactions"]]
        same(tree(leaves), case["tx_root"], "tx_root")
        for proof in case["proofs"]:
            siblings = [unhex(sibling) for sibling in proof["siblings"]]
            found = root_of_proof(len(leaves), proof["index"], siblings, leaves[proof["index"]])
            same(found, case["tx_root"], "proof")
        parts = [unhex(case[key]) for key in ("coinbase_id", "extension_hash", "tx_root")]
        same(header_root(*parts), case["header_root"], "header root")


ELEMENTS = {}


def lanes(element):
    if element not in ELEMENTS:
        out = derive("cairn v1 coin", element, 2048)
        ELEMENTS[element] = [int.from_bytes(out[i : i + 2], "little") for i in range(0, 2048, 2)]
    return ELEMENTS[element]


def moved(state, element, sign):
    return [(lane + sign * other) % 65536 for lane, other in zip(state, lanes(element))]


def lane_bytes(state):
    return b"".join(lane.to_bytes(2, "little") for lane in state)


def lthash(file):
    state = [0] * 1024
    for case in file["cases"]:
        state = moved(state, unhex(case["element"]), 1 if case["operation"] == "add" else -1)
        same(lane_bytes(state)[:32], case["first_lanes"], "first lanes")
        same(sha256(lane_bytes(state)), case["state_sha256"], "lthash")


def state_root(elements, engine_state):
    state = [0] * 1024
    for element in elements:
        state = moved(state, element, 1)
    return derive("cairn v1 state", lane_bytes(state) + derive("cairn v1 engine state", engine_state))


def states(file):
    for case in file["cases"]:
        elements = [unhex(coin) for coin in case["coins"]]
        found = state_root(elements, unhex(case["engine_state"]))
        same(found, case["state_root"], f"state root of height {case['height']}")
        total = 0
        for element in elements:
            reader = encoding.Reader(element)
            reader.outpoint()
            total += reader.coin()[0][0]
            assert reader.at == len(element) and reader.canonical
        same(total, int(case["issued"]) - int(case["burned"]), "supply")


def target_of(bits):
    exponent, mantissa = bits >> 24, bits & 0x7FFFFF
    target = mantissa >> 8 * (3 - exponent) if exponent <= 3 else mantissa << 8 * (exponent - 3)
    if target == 0:
        return "zero"
    if target >> 256:
        return "overflow"
    return "negative" if bits & 0x800000 else target


def work_of(target):
    return 2**256 // (target + 1)


def work(file):
    for case in file["cases"]:
        target = target_of(int(case["bits"], 16))
        if isinstance(target, str):
            same(target, case.get("error"), case["bits"])
            continue
        same(f"{target:064x}", case["target"], case["bits"])
        same(f"{work_of(target):064x}", case["work"], case["bits"])
        same(f"{asert.bits_of(target):08x}", case["canonical_bits"], case["bits"])
    for case in file["sums"]:
        total = int(case["total_before"], 16) + work_of(target_of(int(case["bits"], 16)))
        same(total < 2**256, case["valid"], "total work")
        if case["valid"]:
            same(f"{total:064x}", case["total_after"], "total work")


def addresses(file):
    for case in file["cases"]:
        try:
            found = bech32m.key_hash(case["text"], case["network"])
        except bech32m.Refused as refused:
            same(str(refused), None if case["valid"] else case["rule"], case["name"])
        else:
            same(found, case.get("key_hash"), case["name"])


def signatures(file):
    for key in file["keys"]:
        same(ed25519.public_key(unhex(key["seed"])), key["public"], "public key")
    for case in file["cases"]:
        parts = [unhex(case[key]) for key in ("key", "signature", "message")]
        same(ed25519.verify(*parts), case["valid"], case["name"])


def encodings(file):
    for case in file["cases"]:
        try:
            encoding.decode(case["type"], unhex(case["bytes"]), case["bytes_max"])
        except encoding.Refused as refused:
            same(str(refused), None if case["valid"] else case["rule"], case["name"])
        else:
            same(True, case["valid"], case["name"])


def messages(file):
    for case in file["cases"]:
        encoding.decode(case["type"], unhex(case["bytes"]))
    names, tag = file["names"], file["names"]["chain_id"][:8]
    same(tag, names["chain_tag"], "chain tag")
    same(f"/cairn/{tag}/sync/1", names["sync"], "sync")
    same(f"/cairn/{tag}/block/1", names["block_topic"], "block topic")
    same(f"cairn/{tag}/1", names["identify"], "identify")


def ids_of(tx):
    txid = derive("cairn v1 txid", tx["body"])
    return txid, derive("cairn v1 wtxid", txid + tx["witness_bytes"])


def sighash(chain_id, txid, index, spent):
    return derive("cairn v1 sighash", chain_id + txid + index.to_bytes(4, "little") + spent)


def transaction_ids(file):
    chain_id = unhex(file["chain_id"])
    for case in file["cases"]:
        tx = encoding.decode("transaction", unhex(case["transaction"]))
        txid, wtxid = ids_of(tx)
        same(txid, case["txid"], "txid")
        same(wtxid, case["wtxid"], "wtxid")
        same(4 * len(tx["body"]) + len(tx["witness_bytes"]), case["weight"], "weight")
        spent = derive("cairn v1 spent outputs", b"".join(unhex(output) for output in case["spent"]))
        for index, expected in enumerate(case["sighashes"]):
            same(sighash(chain_id, txid, index, spent), expected, "sighash")


def headers(file):
    for case in file["ids"]:
        header = unhex(case["header"])
        same(h2(header), case["id"], "id")
        same(blake3(header), case["blake3"], "blake3")
        same(int.from_bytes(header[68:72], "little"), case["time"], "time")
        same(h2(unhex(case["coinbase"])), case["coinbase_id"], "coinbase id")
        same(derive("cairn v1 extension", unhex(case["extension"])), case["extension_hash"], "extension")
        same(derive("cairn v1 attachments", unhex(case["attachments"])), case["attachments_hash"], "attachments")
    for case in file["cases"]:
        record = encoding.decode("header_record", unhex(case["record"]))
        start = 80 + 32 + 32
        reader = encoding.Reader(unhex(case["record"])[start:])
        reader.extension()
        extension = derive("cairn v1 extension", reader.data[: reader.at])
        bound = header_root(record["coinbase_id"], extension, record["tx_root"]) == record["header"][36:68]
        same(not bound, case["rule"] == "HDR-09" and not case["valid"], case["name"])


def body_root(block):
    leaves = [leaf(*ids_of(tx)) for tx in block["transactions"]]
    extension = derive("cairn v1 extension", block["extension_bytes"])
    return header_root(h2(block["coinbase"][1]), extension, tree(leaves))


def blocks(file):
    for setup in file["setup"]:
        block = encoding.decode("block", unhex(setup))
        same(body_root(block), block["header"][36:68].hex(), "root")
    for case in file["cases"]:
        block = encoding.decode("block", unhex(case["block"]))
        broken = None
        if body_root(block) != block["header"][36:68]:
            broken = "BLK-01"
        elif block["extension"]["tx_count"] != len(block["transactions"]):
            broken = "BLK-02"
        elif derive("cairn v1 attachments", block["attachments_bytes"]) != block["extension"]["attachments_hash"]:
            broken = "BLK-03"
        mutation = case["rule"] if not case["valid"] and case["rule"] in ("BLK-01", "BLK-02", "BLK-03") else None
        same(broken, mutation, case["name"])
        weight = 80 + len(block["extension_bytes"]) + len(block["coinbase"][1]) + len(block["attachments_bytes"])
        weight = 4 * weight + sum(4 * len(tx["body"]) + len(tx["witness_bytes"]) for tx in block["transactions"])
        if case["rule"] == "BLK-07":
            same(weight <= 100_000, case["valid"], case["name"])


def chains(file):
    for case in file["cases"]:
        spec_hash = derive("cairn v1 spec", unhex(case["immutable"]))
        same(spec_hash, case["spec_hash"], "spec hash")
        entries = [unhex(entry) for entry in case["schedule"]]
        announced = [entry for entry in entries if entry[0] == 0]
        schedule = derive("cairn v1 schedule", bytes([len(announced)]) + b"".join(announced))
        same(schedule, case["schedule_hash"], "schedule hash")
        genesis = encoding.decode("block", unhex(case["genesis"]))
        same(body_root(genesis), genesis["header"][36:68].hex(), "genesis root")
        same([(1, spec_hash)], genesis["extension"]["commitments"], "commitment")
        chain_id = h2(genesis["header"])
        same(chain_id, case["chain_id"], "chain id")
        same(derive("cairn v1 ruleset", chain_id + entries[0] + b"\0"), case["ruleset_id"], "ruleset")


def subsidy(file):
    cap = int(file["money_cap"])
    for case in file["cases"]:
        steps = [int(step["subsidy"]) for step in file["table"] if step["height"] <= case["height"]]
        found = min(steps[-1] if steps else 0, cap - int(case["issued"]))
        same(found, int(case["subsidy"]), f"subsidy of {case['height']}")


def short_id(block_id, wtxid):
    k0, k1 = (int.from_bytes(block_id[i : i + 8], "little") for i in (0, 8))
    return siphash24(k0, k1, wtxid).to_bytes(8, "little")[:6]


def compact(file):
    for case in file["cases"]:
        for at, key in zip((0, 8), case["key"]):
            same(int.from_bytes(unhex(case["block_id"])[at : at + 8], "little"), int(key, 16), "key")
        same(short_id(unhex(case["block_id"]), unhex(case["wtxid"])), case["short_id"], "short id")
    block = encoding.decode("block", unhex(file["whole"]["block"]))
    ids = [ids_of(tx)[1] for tx in block["transactions"]]
    same([wtxid.hex() for wtxid in ids], file["whole"]["wtxids"], "wtxids")
    tail = b"".join(short_id(h2(block["header"]), wtxid) for wtxid in ids)
    assert unhex(file["whole"]["compact_block"]).endswith(bytes([len(ids)]) + tail)


def transactions(file):
    """Signatures and ids alone: the rules themselves are the conformance runner's."""
    chain_id = unhex(file["chain_id"])
    signed = 0
    for case in file["cases"]:
        tx = encoding.decode("transaction", unhex(case["transaction"]))
        if case["rule"] != "TX-22" or None in case["coins"]:
            continue
        coins = [encoding.decode("coin", unhex(coin)) for coin in case["coins"]]
        spent = b"".join(output_bytes(unhex(coin)) for coin in case["coins"])
        txid, spent_hash = ids_of(tx)[0], derive("cairn v1 spent outputs", spent)
        verdicts = []
        for index, (coin, witness) in enumerate(zip(coins, tx["witnesses"])):
            message = sighash(chain_id, txid, index, spent_hash)
            if witness[0] == "threshold":
                keys = [key for bit, key in enumerate(coin[0][1][2]) if witness[1] >> bit & 1]
                verdicts += [ed25519.verify(key, sig, message) for key, sig in zip(keys, witness[2])]
            else:
                verdicts.append(ed25519.verify(witness[-2], witness[-1], message))
        same(all(verdicts), case["valid"], case["name"])
        signed += 1
    assert signed >= 8, f"only {signed} signed cases"


def output_bytes(coin):
    reader = encoding.Reader(coin)
    reader.output()
    return coin[: reader.at]


def judged(case, judge):
    """Compares the verdict of `judge` with the case's; what it answered, if the case is valid."""
    try:
        answer = judge()
    except encoding.Refused as refused:
        same(str(refused), None if case["valid"] else case["rule"], case["name"])
        return None
    same(True, case["valid"], case["name"])
    return answer


def validators_of(lines):
    pairs = (line.split() for line in lines)
    return [(unhex(key), int(power)) for key, power in pairs]


def scope_of(case):
    return unhex(case["chain_id"]), unhex(case["ruleset_id"]), int(case["instance"])


def bft_sets(file):
    for case in file["cases"]:
        if case["kind"] == "key":
            judged(case, lambda: bft.check_key(unhex(case["key"])))
            continue
        validators = validators_of(case["validators"])
        judged(case, lambda: bft.check_set(validators))
        if case["valid"]:
            same(bft.set_hash(case["set_rule"], validators), case["set_hash"], case["name"])
            same(sum(power for _, power in validators), int(case["total"]), case["name"])
    for case in file["quorums"]:
        power, total = int(case["power"]), int(case["total"])
        same(bft.is_quorum(power, total), case["quorum"], f"{power} of {total}")
        same(bft.is_weak_quorum(power, total), case["weak_quorum"], f"{power} of {total}")


def bft_leaders(file):
    for case in file["cases"]:
        powers = [int(power) for power in case["powers"]]
        instance = int(case["instance"])
        same(bft.rotation(powers, instance, case["round"]), case["rotation"], "rotation")
        same(bft.draw(powers, unhex(case["seed"]), instance, case["round"]), case["draw"], "draw")


def bft_statements(file):
    for case in file["cases"]:
        statement = bft.read("statement", unhex(case["statement"]))
        same(bft.sign_bytes(scope_of(case), statement), case["sign_bytes"], case["name"])
        message = bft.message_of(scope_of(case), statement)
        same(message, case["message"], case["name"])
        same(ed25519.verify(unhex(case["key"]), unhex(case["signature"]), message), True, case["name"])


def bft_messages(file):
    scope, validators = scope_of(file["scope"]), validators_of(file["set"]["validators"])
    same(bft.set_hash(file["set"]["rule"], validators), file["set"]["set_hash"], "set hash")
    for case in file["cases"]:
        message = bft.read("bft_message", unhex(case["message"]))
        if "justification_hash" in case:
            same(message["statement"][3], case["justification_hash"], case["name"])
        judged(case, lambda: bft.judge_message(scope, validators, message))


def bft_seals(file):
    for case in file["cases"]:
        scope, validators = scope_of(case["scope"]), validators_of(case["set"]["validators"])
        seal = bft.read("seal", unhex(case["seal"]))
        power = judged(case, lambda: bft.judge_seal(scope, validators, unhex(case["id"]), seal))
        if case["valid"]:
            same(power, int(case["power"]), case["name"])


def bft_evidence(file):
    for case in file["cases"]:
        evidence = bft.read("evidence", unhex(case["evidence"]))
        proven = judged(case, lambda: bft.judge_evidence(unhex(file["chain_id"]), evidence))
        if case["valid"]:
            same(proven, (case["offence"], case["round"]), case["name"])


def sealed_blocks(file):
    for setup in file["setup"]:
        block = encoding.decode("block", unhex(setup))
        same(body_root(block), block["header"][36:68].hex(), "root")
    for case in file["cases"]:
        block = encoding.decode("block", unhex(case["block"]))
        same(body_root(block), block["header"][36:68].hex(), case["name"])
        hashed = derive("cairn v1 attachments", block["attachments_bytes"])
        same(hashed, block["extension"]["attachments_hash"].hex(), case["name"])


class Eras:
    """Who seals which height, by `eras` of the file."""

    def __init__(self, file):
        self.chain_id = unhex(file["chain_id"])
        self.eras = [
            (era["first"], unhex(era["ruleset_id"]), validators_of(era["validators"])) for era in file["eras"]
        ]

    def at(self, height):
        return [era for era in self.eras if era[0] <= height][-1] if height > 0 else (0, None, [])

    def next_set_hash(self, height):
        later = [era for era in self.eras if era[0] > height]
        return bft.set_hash(1, later[0][2]) if later and later[0][2] else bytes(32)

    def certifies(self, height, block_id, proposed_round, data):
        _, ruleset, validators = self.at(height)
        try:
            seal = bft.read("seal", data)
            bft.judge_seal((self.chain_id, ruleset, height), validators, block_id, seal)
        except (encoding.Refused, IndexError):
            return False
        return proposed_round <= seal[0]


# What this file can judge of a record alone, its parent known: the rest is of chains and work.
SEALED_RULES = {"HDR-13", "HDR-14", "HDR-15", "HDR-16", "HDR-17", "HDR-18", "EXT-09", "EXT-10", "EXT-11", "EXT-12"}


def judge_sealed(eras, record, parent):
    extension, header = record["extension"], record["header"]
    height, validators = extension["height"], eras.at(extension["height"])[2]
    number = lambda at: int.from_bytes(header[at : at + 4], "little")
    if validators:
        bft.require("HDR-13", (number(0), number(72), number(76)) == (0x20000000, 0, 0))
        bft.require("HDR-14", parent is None or number(68) >= parent["time"])
        bft.require("EXT-09", extension["set_hash"] == bft.set_hash(1, validators))
        leader = bft.rotation(validators, height, extension["proposed_round"])
        bft.require("EXT-11", extension["proposer"] == leader)
        bft.require("EXT-12", extension["seed_reveal"] == b"")
        bft.require("EXT-10", extension["next_set_hash"] == eras.next_set_hash(height))
    bft.require("HDR-15", (record["parent_seal"] is not None) == bool(eras.at(height - 1)[2]))
    if record["parent_seal"] is not None:
        place = (height - 1, header[4:36], parent["proposed_round"])
        bft.require("HDR-16", eras.certifies(*place, record["parent_seal"]))
    if validators:
        bft.require("HDR-18", record["seal"] is not None)
        place = (height, h2(header), extension["proposed_round"])
        bft.require("HDR-17", eras.certifies(*place, record["seal"]))


def sealed_headers(file):
    eras, parents = Eras(file), [None]
    for setup in file["setup"]:
        block = encoding.decode("block", unhex(setup["block"]))
        extension, header = block["extension"], block["header"]
        same(body_root(block), header[36:68].hex(), "root")
        parents.append({
            "time": int.from_bytes(header[68:72], "little"), "proposed_round": extension["proposed_round"],
        })  # fmt: skip
        if setup["seal"] is not None:
            place = (extension["height"], h2(header), extension["proposed_round"])
            same(eras.certifies(*place, unhex(setup["seal"])), True, "seal of the setup")
    for case in file["cases"]:
        record = encoding.decode("header_record", unhex(case["record"]))
        if case["valid"] or case["rule"] in SEALED_RULES:
            judged(case, lambda: judge_sealed(eras, record, parents[case["after"]]))


CHECKS = {
    "addresses": addresses, "bft_evidence": bft_evidence, "bft_leaders": bft_leaders,
    "bft_messages": bft_messages, "bft_new_views": bft_messages, "bft_seals": bft_seals,
    "bft_sets": bft_sets, "bft_statements": bft_statements, "blocks": blocks, "chains": chains, "compact": compact,
    "encoding": encodings, "hashes": hashes, "headers": headers, "lthash": lthash, "merkle": merkle,
    "messages": messages, "sealed_blocks": sealed_blocks, "sealed_headers": sealed_headers, "signatures": signatures, "state": states, "subsidy": subsidy,
    "transaction_ids": transaction_ids, "transactions": transactions, "work": work,
}  # fmt: skip

# Vectors that only the Rust crates read so far: nothing independent agrees with them yet.
UNREAD = {"switch_headers"}


def main():
    assert (VECTORS / "asert.json").read_text() == asert.text(), "asert.json is stale"
    for path in sorted(VECTORS.glob("*.json")):
        file = json.loads(path.read_text())
        if path.stem in UNREAD:
            print(f"{path.name}: {len(file['cases'])} cases NOT read here yet")
            continue
        if path.stem != "asert":
            CHECKS[path.stem](file)
        print(f"{path.name}: {len(file['cases'])} cases agree")
    print(f"database/vectors.json: {database.check()} cases agree")


if __name__ == "__main__":
    main()
