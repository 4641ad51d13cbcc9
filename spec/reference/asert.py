"""The retarget in Python's unbounded integers, and the generator of `spec/vectors/asert.json`.

Rule: spec/06-proof-of-work.md#retarget. Shares nothing with the Rust code.
Usage: python3 asert.py --write | --check
"""
import json
import pathlib
import random
import sys

PATH = pathlib.Path(__file__).parent / ".." / "vectors" / "asert.json"


def target_of(bits):
    """Compact bits to a target; vectors hold well-formed bits only."""
    size, word = bits >> 24, bits & 0x7FFFFF
    assert not bits & 0x800000 and word
    return word >> 8 * (3 - size) if size <= 3 else word << 8 * (size - 3)


def bits_of(target):
    """A target to its compact bits: what does not fit 23 bits is cut off."""
    size = (target.bit_length() + 7) // 8
    word = target << 8 * (3 - size) if size <= 3 else target >> 8 * (size - 3)
    if word & 0x800000:
        word, size = word >> 8, size + 1
    return size << 24 | word


def next_bits(era, height, time):
    """Bits of the block after the one with this height and time."""
    slip = time - era["parent_time"] - era["spacing_s"] * (height - era["height"] + 1)
    scaled = abs(slip << 16) // era["half_life_s"]  # truncates toward zero
    exponent = scaled if slip >= 0 else -scaled
    shifts, x = exponent >> 16, exponent & 0xFFFF  # floors
    factor = 65536 + ((195766423245049 * x + 971821376 * x**2 + 5127 * x**3 + 2**47) >> 48)
    target = target_of(int(era["bits"], 16)) * factor
    shifts -= 16
    target = target << shifts if shifts >= 0 else target >> -shifts
    return bits_of(max(1, min(target, target_of(int(era["limit_bits"], 16)))))


def era(name, height, parent_time, bits, spacing_s, half_life_s, limit_bits):
    return {
        "name": name,
        "height": height,
        "parent_time": parent_time,
        "bits": f"{bits:08x}",
        "spacing_s": spacing_s,
        "half_life_s": half_life_s,
        "limit_bits": f"{limit_bits:08x}",
    }


def walk(rng, height, time, count, low, high, leap=0):
    for _ in range(count):
        yield height, time
        time = max(0, min(time + rng.randint(low, high), 2**32 - 1))
        height += 1 + (rng.randrange(leap) if leap else 0)


def document():
    rng = random.Random("cairn retarget vectors")
    testnet, hourly = (60, 3600, 0x1E00FFFF), (600, 86400, 0x1D00FFFF)
    runs = [
        (era("on schedule", 1, 1_000_000, 0x1C00FFFF, *hourly), ((h, 1_000_000 + 600 * h) for h in range(1, 20))),
        (era("too fast", 1, 0, 0x1D00FFFF, *hourly), walk(rng, 1, 300, 60, 0, 700)),
        (era("slow to the limit", 1, 0, 0x1B0FFFF0, *hourly), walk(rng, 1, 600, 60, 500, 40_000)),
        (era("times go back", 1, 50_000, 0x1C7FFFFF, *testnet), walk(rng, 1, 50_060, 80, -400, 500)),
        (era("a later era", 700_123, 1_790_000_000, 0x1B2AEE80, *testnet), walk(rng, 700_123, 1_790_000_060, 80, -50, 190, 9)),
        (era("easy targets", 1, 1_790_000_000, 0x207FFFFF, 2, 288, 0x207FFFFF), walk(rng, 1, 1_790_000_000, 60, 0, 4)),
        (era("leaps", 1, 4_000_000_000, 0x1A00FFFF, *hourly), walk(rng, 1, 0, 60, 0, 60_000_000, 100_000)),
        (era("down to one", 1, 4_294_967_295, 0x03000010, *testnet), walk(rng, 1, 0, 30, 0, 100_000)),
    ]
    # Read as headers of a chain with these rules, too: genesis has the time 1,767,225,600.
    chain = era("a chain of headers", 1, 1_767_225_600, 0x2007FFFF, 2, 60, 0x207FFFFF)
    runs.append((chain, walk(rng, 1, 1_767_225_603, 24, 1, 9)))
    cases = []
    for fields, steps in runs:
        steps = [[height, time, f"{next_bits(fields, height, time):08x}"] for height, time in steps]
        cases.append({**fields, "steps": steps})
    return {
        "about": "One era a case: each step is [height, time, bits]: the bits of the block after the one of that height and time.",
        "generated_by": "python3 spec/reference/asert.py --write; do not edit",
        "cases": cases,
    }


def text():
    return json.dumps(document(), indent=1) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        PATH.write_text(text())
    elif sys.argv[1:] == ["--check"]:
        assert PATH.read_text() == text(), "asert.json is stale"
    else:
        sys.exit(__doc__)
