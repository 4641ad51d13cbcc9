"""Addresses: bech32m of BIP-350 around a version byte and a key hash."""
ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
BECH32M = 0x2BC830A3
PREFIXES = {"crn": "mainnet", "tcrn": "testnet", "dcrn": "devnet"}


class Refused(Exception):
    """The id of the rule that a text breaks."""


def checksum(values):
    state = 1
    for value in values:
        top, state = state >> 25, (state & 0x1FFFFFF) << 5 ^ value
        for bit, word in enumerate([0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3]):
            if top >> bit & 1:
                state ^= word
    return state


def key_hash(text, network):
    """The key hash of an address of `network`."""
    if not text.isascii() or text not in (text.lower(), text.upper()):
        raise Refused("ADR-01")
    prefix, separator, symbols = text.lower().rpartition("1")
    if not separator or not prefix or len(symbols) < 6 or set(symbols) - set(ALPHABET):
        raise Refused("ADR-01")
    values = [ALPHABET.index(symbol) for symbol in symbols]
    expanded = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    if checksum(expanded + values) != BECH32M:
        raise Refused("ADR-01")
    if prefix not in PREFIXES:
        raise Refused("ADR-02")
    number, bits = 0, 0
    for value in values[:-6]:
        number, bits = number << 5 | value, bits + 5
    padding = bits % 8
    if padding >= 5 or number & (1 << padding) - 1:
        raise Refused("ADR-01")
    data = (number >> padding).to_bytes(bits // 8, "big")
    if not data:
        raise Refused("ADR-01")
    if data[0] != 0:
        raise Refused("ADR-03")
    if len(data) != 33:
        raise Refused("ADR-04")
    if PREFIXES[prefix] != network:
        raise Refused("ADR-05")
    return data[1:]
