"""The counting kernels compiled by numba; import this module only where they are used, for it loads the compiler.

Each kernel computes the keys `2 * distance + relevant` of one query to a stretch of items that fits the first-level
cache. That loop has no branch and no dependence, so it becomes vector instructions. Only then are the keys counted,
into four tables in turn, because adding twice to one cell must wait for the first addition to arrive in memory.
"""

from __future__ import annotations

import numpy as np

from hamguard.codes.compiled import compiled, ones, ones_of_byte
from hamguard.codes.histograms_numpy import key_type
from hamguard.core.types import Array, Floats, Ints

LONG = (
    1 << 14
)  # items from which on byte columns and tables of pairs of keys pay, which cost some thousand additions a query
MANY = 64  # queries from which on they do
LABEL_COLUMNS = 3  # bytes of labels, 24 of them, that are passed over together with all bytes of a code
STRETCH = 4096  # items: keys, masks and the words they come from stay in a first-level cache of 32 KiB or little more


def _fill_keys(q: Array, q_label: Array, code: Array, label: Array, start: int, key: Array, shared: Array) -> None:
    """Keys of one query to the stretch of items that begins at `start` and fills `key`, any number of words."""
    n = len(key)
    words, marks = code[0][start : start + n], label[0][start : start + n]
    for i in range(n):
        key[i] = ones(q[0] ^ words[i])
        shared[i] = q_label[0] & marks[i]
    for w in range(1, len(q)):
        words = code[w][start : start + n]
        for i in range(n):
            key[i] += ones(q[w] ^ words[i])
    for v in range(1, len(q_label)):
        if q_label[v] == 0:  # no label of the query: one pass a label, not a class
            continue
        marks = label[v][start : start + n]
        for i in range(n):
            shared[i] |= q_label[v] & marks[i]
    for i in range(n):
        key[i] = key[i] * 2 + (shared[i] != 0)


def _fill_keys_1(q_word: int, q_mark: int, words: Array, marks: Array, key: Array) -> None:
    """Keys of one query to the items of a stretch, one word of code and one word of labels."""
    for i in range(len(key)):
        key[i] = ones(q_word ^ words[i]) * np.uint64(2) + np.uint64((q_mark & marks[i]) != np.uint64(0))


_fill_keys = compiled(_fill_keys)
_fill_keys_1 = compiled(_fill_keys_1)


def _together(code: Array, label: Array, table: Array, first: Ints, times: Ints) -> int:
    """Fill the table of hashes with numbers of kinds, and return how many kinds there are."""
    kinds, mask, half = 0, np.uint64(len(table) - 1), np.uint64(32)
    for i in range(code.shape[1]):
        mixed = np.uint64(0)
        for w in range(code.shape[0]):
            mixed = (mixed ^ code[w, i]) * np.uint64(0x9E3779B97F4A7C15)  # about 2**64 over the golden ratio (Knuth)
            mixed ^= mixed >> half
        for v in range(label.shape[0]):
            mixed = (mixed ^ label[v, i]) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> half
        place = mixed & mask
        while True:
            kind = table[place]
            if kind < 0:
                table[place] = kinds
                first[kinds], times[kinds] = i, 1
                kinds += 1
                break
            j, same = first[kind], True
            for w in range(code.shape[0]):
                same &= code[w, i] == code[w, j]
            for v in range(label.shape[0]):
                same &= label[v, i] == label[v, j]
            if same:
                times[kind] += 1
                break
            place = (place + np.uint64(1)) & mask
    return kinds


_together = compiled(_together)


def together(code: Array, label: Array) -> tuple[Ints, Ints]:
    """Items of a block that have one code and the same labels, counted; as `histograms_numpy.together`, in another order."""
    n = code.shape[1]
    first, times = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    kinds = _together(code, label, np.full(2 << n.bit_length(), -1, dtype=np.int32), first, times)
    return first[:kinds], times[:kinds]


def _count(
    q: Array, q_labels: Array, code: Array, label: Array, total: Ints, relevant: Ints, key: Array, shared: Array
) -> None:
    n, size = code.shape[1], total.shape[1]
    single = code.shape[0] == 1 and label.shape[0] == 1
    tables = np.zeros((4, 2 * size), dtype=np.uint32)
    first, second, third, fourth = tables[0], tables[1], tables[2], tables[3]
    for a in range(len(q)):
        tables[:] = 0
        for start in range(0, n, STRETCH):
            stop = min(n, start + STRETCH)
            if single:
                _fill_keys_1(q[a, 0], q_labels[a, 0], code[0][start:stop], label[0][start:stop], key[: stop - start])
            else:
                _fill_keys(q[a], q_labels[a], code, label, start, key[: stop - start], shared)
            quads = (stop - start) // 4
            for i in range(quads):
                first[key[4 * i]] += 1
                second[key[4 * i + 1]] += 1
                third[key[4 * i + 2]] += 1
                fourth[key[4 * i + 3]] += 1
            for i in range(4 * quads, stop - start):
                first[key[i]] += 1
        for d in range(size):
            other = first[2 * d] + second[2 * d] + third[2 * d] + fourth[2 * d]
            hit = first[2 * d + 1] + second[2 * d + 1] + third[2 * d + 1] + fourth[2 * d + 1]
            total[a, d] += other + hit
            relevant[a, d] += hit


def _columns_of_bytes(words: Array, places: Ints) -> Array:
    """Words `(W, n)` uint64 as their bytes of these places, each a column, `(places, n)` uint8."""
    out = np.empty((len(places), words.shape[1]), dtype=np.uint8)
    for p, place in enumerate(places):
        shift = np.uint64(8 * (place % 8))
        for i in range(words.shape[1]):
            out[p, i] = np.uint8((words[place // 8, i] >> shift) & np.uint64(255))
    return out


def _fill_keys_of_bytes(
    q: Array, q_label: Array, code: Array, label: Array, start: int, key: Array, shared: Array
) -> None:
    """Keys of one query to a stretch of items from byte columns: a vector holds four or eight times as many items as of words."""
    n, p = len(key), 0
    stop = start + n
    key[:] = 0
    shared[:n] = 0
    while p + 4 <= len(q):
        a, b, c, d = q[p], q[p + 1], q[p + 2], q[p + 3]
        first, second = code[p][start:stop], code[p + 1][start:stop]
        third, fourth = code[p + 2][start:stop], code[p + 3][start:stop]
        for i in range(n):
            two = ones_of_byte(a ^ first[i]) + ones_of_byte(b ^ second[i])
            key[i] += two + (ones_of_byte(c ^ third[i]) + ones_of_byte(d ^ fourth[i]))
        p += 4
    while p < len(q):
        a, first = q[p], code[p][start:stop]
        for i in range(n):
            key[i] += ones_of_byte(a ^ first[i])
        p += 1
    for v in range(len(q_label)):
        if q_label[v] != 0:
            a, first = q_label[v], label[v][start:stop]
            for i in range(n):
                shared[i] |= a & first[i]
    for i in range(n):
        key[i] = key[i] + key[i] + np.uint8(shared[i] != 0)


def _of_three(a: int, b: int, c: int, x: int, y: int, z: int) -> int:
    """Labels of three bytes that both have: 0 for none."""
    return (a & x) | (b & y) | (c & z)


def _of_four(a: int, b: int, c: int, d: int, w: int, x: int, y: int, z: int) -> int:
    """Bits that differ in four bytes."""
    found: int = (ones_of_byte(a ^ w) + ones_of_byte(b ^ x)) + (ones_of_byte(c ^ y) + ones_of_byte(d ^ z))
    return found


def _fill_keys_of_4(q: Array, q_label: Array, code: Array, label: Array, start: int, key: Array) -> None:
    """As `_fill_keys_of_bytes`, of four columns of codes and three of labels: all in registers, nothing is written twice."""
    stop = start + len(key)
    a, b, c, d = q[0], q[1], q[2], q[3]
    c0, c1, c2, c3 = code[0][start:stop], code[1][start:stop], code[2][start:stop], code[3][start:stop]
    m0, m1, m2 = q_label[0], q_label[1], q_label[2]
    l0, l1, l2 = label[0][start:stop], label[1][start:stop], label[2][start:stop]
    for i in range(len(key)):
        apart = _of_four(a, b, c, d, c0[i], c1[i], c2[i], c3[i])
        key[i] = apart + apart + np.uint8(_of_three(m0, m1, m2, l0[i], l1[i], l2[i]) != 0)


def _fill_keys_of_8(q: Array, q_label: Array, code: Array, label: Array, start: int, key: Array) -> None:
    """As `_fill_keys_of_4`, of eight columns of codes."""
    stop = start + len(key)
    a, b, c, d, e, f, g, h = q[0], q[1], q[2], q[3], q[4], q[5], q[6], q[7]
    c0, c1, c2, c3 = code[0][start:stop], code[1][start:stop], code[2][start:stop], code[3][start:stop]
    c4, c5, c6, c7 = code[4][start:stop], code[5][start:stop], code[6][start:stop], code[7][start:stop]
    m0, m1, m2 = q_label[0], q_label[1], q_label[2]
    l0, l1, l2 = label[0][start:stop], label[1][start:stop], label[2][start:stop]
    for i in range(len(key)):
        first = _of_four(a, b, c, d, c0[i], c1[i], c2[i], c3[i])
        apart = first + _of_four(e, f, g, h, c4[i], c5[i], c6[i], c7[i])
        key[i] = apart + apart + np.uint8(_of_three(m0, m1, m2, l0[i], l1[i], l2[i]) != 0)


_columns_of_bytes = compiled(_columns_of_bytes)
_fill_keys_of_bytes = compiled(_fill_keys_of_bytes)
_of_three = compiled(_of_three)
_of_four = compiled(_of_four)
_fill_keys_of_4 = compiled(_fill_keys_of_4)
_fill_keys_of_8 = compiled(_fill_keys_of_8)


def _count_bytes(q: Array, q_labels: Array, code: Array, label: Array, total: Ints, relevant: Ints) -> None:
    """As `_count`, of byte columns; two keys are counted by one addition, into a table of their pairs."""
    n, size = code.shape[1], total.shape[1]
    key, shared = np.empty(STRETCH, dtype=np.uint8), np.empty(STRETCH, dtype=np.uint8)
    both = key.view(np.uint16)
    # a row of the table for each second key, one behind the other: rows of 256 would share few places of a cache
    row_size = (2 * size + 7) // 8 * 8
    pairs, found = np.zeros(2 * size * row_size, dtype=np.uint32), np.empty(2 * size, dtype=np.int64)
    less, byte = np.uint16(256 - row_size), np.uint16(8)
    wide = code.shape[0] if label.shape[0] == LABEL_COLUMNS else 0
    for a in range(len(q)):
        found[:] = 0
        for start in range(0, n, STRETCH):
            stop = min(n, start + STRETCH)
            if wide == 8:
                _fill_keys_of_8(q[a], q_labels[a], code, label, start, key[: stop - start])
            elif wide == 4:
                _fill_keys_of_4(q[a], q_labels[a], code, label, start, key[: stop - start])
            else:
                _fill_keys_of_bytes(q[a], q_labels[a], code, label, start, key[: stop - start], shared)
            if (stop - start) % 2:
                found[key[stop - start - 1]] += 1
            for i in range((stop - start) // 2):
                both[i] -= np.uint16(both[i] >> byte) * less
            for i in range((stop - start) // 2):
                pairs[both[i]] += np.uint32(1)
        for second in range(2 * size):
            row, times = pairs[row_size * second : row_size * second + 2 * size], np.int64(0)
            for first in range(2 * size):
                here = np.int64(row[first])
                times += here
                found[first] += here
                row[first] = 0  # for the next query, while it is near
            found[second] += times
        for d in range(size):
            total[a, d] += found[2 * d] + found[2 * d + 1]
            relevant[a, d] += found[2 * d + 1]


def _count_times(
    q: Array,
    q_labels: Array,
    code: Array,
    label: Array,
    total: Ints,
    relevant: Ints,
    key: Array,
    shared: Array,
    times: Ints,
) -> None:
    """As `_count`, of items that count several times."""
    n, size = code.shape[1], total.shape[1]
    tables = np.zeros((4, 2 * size), dtype=np.int64)
    first, second, third, fourth = tables[0], tables[1], tables[2], tables[3]
    for a in range(len(q)):
        tables[:] = 0
        for start in range(0, n, STRETCH):
            stop = min(n, start + STRETCH)
            if code.shape[0] == 1 and label.shape[0] == 1:
                _fill_keys_1(q[a, 0], q_labels[a, 0], code[0][start:stop], label[0][start:stop], key[: stop - start])
            else:
                _fill_keys(q[a], q_labels[a], code, label, start, key[: stop - start], shared)
            here = times[start:stop]
            quads = (stop - start) // 4
            for i in range(quads):
                first[key[4 * i]] += here[4 * i]
                second[key[4 * i + 1]] += here[4 * i + 1]
                third[key[4 * i + 2]] += here[4 * i + 2]
                fourth[key[4 * i + 3]] += here[4 * i + 3]
            for i in range(4 * quads, stop - start):
                first[key[i]] += here[i]
        for d in range(size):
            other = first[2 * d] + second[2 * d] + third[2 * d] + fourth[2 * d]
            hit = first[2 * d + 1] + second[2 * d + 1] + third[2 * d + 1] + fourth[2 * d + 1]
            total[a, d] += other + hit
            relevant[a, d] += hit


def _stable(
    q: Array,
    q_labels: Array,
    code: Array,
    label: Array,
    state: Array,
    lanes: Floats,
    hits: Ints,
    most: tuple[int, int],
    room: tuple[Array, Array, Array, Floats],
) -> None:
    key, shared, found, terms = room  # one stretch each
    n = code.shape[1]
    single = code.shape[0] == 1 and label.shape[0] == 1
    one, high, low = np.uint64(1), np.uint64(32), np.uint64(0xFFFFFFFF)
    last_rank, last_hit = np.uint64(most[0]), np.uint64(most[1])
    for a in range(len(q)):
        given = state[a]
        s0, s1, s2, s3 = lanes[a, 0], lanes[a, 1], lanes[a, 2], lanes[a, 3]
        counted = np.int64(0)
        for start in range(0, n, STRETCH):
            stop = min(n, start + STRETCH)
            if single:
                _fill_keys_1(q[a, 0], q_labels[a, 0], code[0][start:stop], label[0][start:stop], key[: stop - start])
            else:
                _fill_keys(q[a], q_labels[a], code, label, start, key[: stop - start], shared)
            # Every item moves its counter and is written down; the place only advances behind a hit. No branch.
            m = np.int64(0)
            for i in range(stop - start):
                mark = np.uint64(key[i]) & one
                now = given[key[i] >> 1] + (one | (mark << high))
                given[key[i] >> 1] = now
                found[m] = now
                m += np.int64(mark)
            for i in range(m):
                rank, hit = found[i] & low, found[i] >> high
                inside = (rank <= last_rank) & (hit <= last_hit)
                terms[i] = np.float64(hit) / np.float64(rank) if inside else 0.0
                counted += np.int64(inside)
            # Four sums in turn: one sum would wait for each addition. The next term always belongs to the first.
            quads = m // 4
            for i in range(quads):
                s0 += terms[4 * i]
                s1 += terms[4 * i + 1]
                s2 += terms[4 * i + 2]
                s3 += terms[4 * i + 3]
            for i in range(4 * quads, m):
                s0, s1, s2, s3 = s1, s2, s3, s0 + terms[i]
        lanes[a, 0], lanes[a, 1], lanes[a, 2], lanes[a, 3] = s0, s1, s2, s3
        hits[a] += counted


_count = compiled(_count)
_count_times = compiled(_count_times)
_count_bytes = compiled(_count_bytes)
_stable = compiled(_stable)


def count(
    q: Array, q_labels: Array, code: Array, label: Array, total: Ints, relevant: Ints, times: Ints | None = None
) -> None:
    """Add the counts of one block in place; arguments as in `histograms_numpy.count`."""
    key, shared = np.empty(STRETCH, dtype=key_type(total.shape[1] - 1)), np.empty(STRETCH, dtype=np.uint64)
    if times is None and key.dtype == np.uint8 and code.shape[1] >= LONG and len(q) >= MANY:
        wide, marks = -(-(total.shape[1] - 1) // 8), np.ascontiguousarray(q_labels).view(np.uint8)  # marks: (Q, 8 V)
        q_bytes = np.ascontiguousarray(np.ascontiguousarray(q).view(np.uint8)[:, :wide])  # (Q, ceil(K / 8))
        used = np.flatnonzero(marks.any(axis=0))  # columns of labels that any query has; others make nothing relevant
        unused = np.flatnonzero(~marks.any(axis=0))[: max(0, LABEL_COLUMNS - len(used))]
        places = np.concatenate([used, unused])  # at least LABEL_COLUMNS, of the 8 that every word has
        columns = _columns_of_bytes(code, np.arange(wide)), _columns_of_bytes(label, places)
        _count_bytes(q_bytes, np.ascontiguousarray(marks[:, places]), *columns, total, relevant)
    elif times is None:
        _count(q, q_labels, code, label, total, relevant, key, shared)
    else:
        _count_times(q, q_labels, code, label, total, relevant, key, shared, times)


def stable(
    q: Array,
    q_labels: Array,
    code: Array,
    label: Array,
    state: Array,
    lanes: Floats,
    hits: Ints,
    max_rank: int,
    max_hits: int,
) -> None:
    """Add the precisions at the hits of one block in place; arguments as in `histograms_numpy.stable`."""
    key = np.empty(STRETCH, dtype=key_type(state.shape[1] - 1))
    shared, found = np.empty(STRETCH, dtype=np.uint64), np.empty(STRETCH + 1, dtype=np.uint64)
    room = (key, shared, found, np.empty(STRETCH))
    _stable(q, q_labels, code, label, state, lanes, hits, (max_rank, max_hits), room)
