"""BLAKE3 from its paper: hash and derive-key with extendable output. Slow and plain."""
IV = [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19]
PERMUTATION = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
DERIVE_CONTEXT, DERIVE_MATERIAL = 32, 64
MASK = 0xFFFFFFFF
COLUMNS = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)]
DIAGONALS = [(0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]


def turn(x, n):
    return (x >> n | x << 32 - n) & MASK


def mix(v, a, b, c, d, x, y):
    v[a] = v[a] + v[b] + x & MASK
    v[d] = turn(v[d] ^ v[a], 16)
    v[c] = v[c] + v[d] & MASK
    v[b] = turn(v[b] ^ v[c], 12)
    v[a] = v[a] + v[b] + y & MASK
    v[d] = turn(v[d] ^ v[a], 8)
    v[c] = v[c] + v[d] & MASK
    v[b] = turn(v[b] ^ v[c], 7)


def compress(chain, block, counter, length, flags):
    m = [int.from_bytes(block[i : i + 4], "little") for i in range(0, 64, 4)]
    v = chain + IV[:4] + [counter & MASK, counter >> 32, length, flags]
    for _ in range(7):
        for i, place in enumerate(COLUMNS + DIAGONALS):
            mix(v, *place, m[2 * i], m[2 * i + 1])
        m = [m[i] for i in PERMUTATION]
    return [v[i] ^ v[i + 8] for i in range(8)] + [v[i + 8] ^ chain[i] for i in range(8)]


def chunk(key, data, index, flags):
    """The last compression of a chunk, not yet taken: its inputs."""
    chain = key
    blocks = [data[i : i + 64] for i in range(0, len(data), 64)] or [b""]
    for i, block in enumerate(blocks):
        now = flags | (CHUNK_START if i == 0 else 0)
        if i == len(blocks) - 1:
            return chain, block.ljust(64, b"\0"), index, len(block), now | CHUNK_END
        chain = compress(chain, block, index, 64, now)[:8]


def node(key, data, index, flags):
    """The last compression of the tree over `data`, whose first chunk has number `index`."""
    if len(data) <= 1024:
        return chunk(key, data, index, flags)
    left = 1024
    while left * 2 < len(data):
        left *= 2
    halves = [node(key, data[:left], index, flags), node(key, data[left:], index + left // 1024, flags)]
    words = [word for half in halves for word in compress(*half)[:8]]
    block = b"".join(word.to_bytes(4, "little") for word in words)
    return key, block, 0, 64, flags | PARENT


def finish(key, data, flags, length):
    chain, block, _, block_length, last = node(key, data, 0, flags)
    out = b""
    for step in range(-(-length // 64)):
        words = compress(chain, block, step, block_length, last | ROOT)
        out += b"".join(word.to_bytes(4, "little") for word in words)
    return out[:length]


def blake3(data, length=32):
    return finish(IV, data, 0, length)


KEYS = {}


def derive(context, data, length=32):
    if context not in KEYS:
        raw = finish(IV, context.encode(), DERIVE_CONTEXT, 32)
        KEYS[context] = [int.from_bytes(raw[i : i + 4], "little") for i in range(0, 32, 4)]
    return finish(KEYS[context], data, DERIVE_MATERIAL, length)
