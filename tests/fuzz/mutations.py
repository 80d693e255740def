"""What can happen to a file: bytes turn, ends are lost, members change places, values change type, and what lies there is no file.

`mutate` changes a file in place and says in words what it did. The same generator does the same, so that a seed and a number
name a mutant.
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import shutil
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Mutator = Callable[[random.Random, bytes], tuple[bytes, str]]
BOMB = 10**12
WRONG: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 10**30, -(2**63), 0.5, 1e308, float("nan"), float("inf"), "", "x", "0", "ü\ud800", "a" * 5000,
    "../../x", [], {}, [0], [None], {"x": 1}, [[]], ["x", "y"],
)  # fmt: skip
SPARSE = 40 * 10**9
SIZES = (0, 1, 2, 3, 4, 7, 8, 9, 16, 63, 64, 127, 128, 512, 4096)


class NoFit(Exception):
    """A mutator does not fit this content."""


# --- bytes -----------------------------------------------------------------------------------------------------------


def _spot(draw: random.Random, content: bytes) -> int:
    """A place in the content; heads and tails, where formats keep their facts, come more often."""
    if not content:
        raise NoFit
    edge = min(len(content), 256)
    return draw.choice((draw.randrange(len(content)), draw.randrange(edge), len(content) - 1 - draw.randrange(edge)))


def flip_bits(draw: random.Random, content: bytes) -> tuple[bytes, str]:
    changed, places = bytearray(content), []
    for _ in range(draw.choice((1, 1, 1, 2, 8))):
        place, bit = _spot(draw, content), draw.randrange(8)
        changed[place] ^= 1 << bit
        places.append(f"{place}.{bit}")
    return bytes(changed), f"flip bit {', '.join(places)}"


def set_byte(draw: random.Random, content: bytes) -> tuple[bytes, str]:
    place, value = _spot(draw, content), draw.choice((0, 1, 10, 32, 34, 45, 48, 57, 92, 127, 128, 255))
    return content[:place] + bytes([value]) + content[place + 1 :], f"byte {place} = {value}"


def insert(draw: random.Random, content: bytes) -> tuple[bytes, str]:
    place = draw.randrange(len(content) + 1)
    added = draw.choice((b"\0", b"\n", b"{", b'"', b"\xff\xfe", b"NaN", b"9" * 400, b"[" * 3000, draw.randbytes(37)))
    return content[:place] + added + content[place:], f"insert {added[:12]!r} at {place}"


def delete(draw: random.Random, content: bytes) -> tuple[bytes, str]:
    place, length = _spot(draw, content), draw.choice((1, 1, 2, 8, 100))
    return content[:place] + content[place + length :], f"delete {length} at {place}"


def truncate(draw: random.Random, content: bytes) -> tuple[bytes, str]:
    if not content:
        raise NoFit
    ends = [size for size in SIZES if size < len(content)]
    ends += [max(0, len(content) - size) for size in SIZES[1:]]
    ends += [len(content) // 2, content.rfind(b"\n") + 1, max(0, content.rfind(b"PK")), draw.randrange(len(content))]
    end = draw.choice(ends)
    return content[:end], f"cut to {end} of {len(content)}"


def append(draw: random.Random, content: bytes) -> tuple[bytes, str]:
    added = draw.choice((b"\0" * 64, b"\n\n", content, b"x", draw.randbytes(500)))
    return content + added, f"append {len(added)} bytes"


def blocks(draw: random.Random, content: bytes) -> tuple[bytes, str]:
    if len(content) < 32:
        raise NoFit
    size = draw.choice([n for n in (8, 16, 64, 512, 4096) if 2 * n <= len(content)] or [8])
    a, b = sorted(draw.sample(range(len(content) - size + 1), 2))
    kind = draw.choice(("zero", "duplicate", "copy", "swap"))
    one, two = content[a : a + size], content[b : b + size]
    if kind == "zero":
        return content[:a] + b"\0" * size + content[a + size :], f"zero {size} bytes at {a}"
    if kind == "duplicate":
        return content[: a + size] + one + content[a + size :], f"duplicate {size} bytes at {a}"
    if kind == "copy":
        return content[:b] + one + content[b + size :], f"copy {size} bytes from {a} to {b}"
    b = max(b, a + size)
    two = content[b : b + size]
    return content[:a] + two + content[a + size : b] + one + content[b + size :], f"swap {size} bytes of {a} and {b}"


def wipe(draw: random.Random, content: bytes) -> tuple[bytes, str]:
    kept, word = draw.choice(
        ((b"", "empty"), (b"\0" * len(content), "all zero"), (content[::-1], "backwards"), (b"\n", "a line end"),
         (draw.randbytes(len(content)), "noise"), (b"null", "null"), (b"[]", "[]"), (b"{}", "{}"))
    )  # fmt: skip
    return kept, word


BYTES: tuple[Mutator, ...] = (
    flip_bits,
    flip_bits,
    flip_bits,
    set_byte,
    insert,
    delete,
    truncate,
    truncate,
    append,
    blocks,
    wipe,
)

# --- JSON ------------------------------------------------------------------------------------------------------------


def _nodes(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all values inside a JSON value."""
    found = [path]
    if isinstance(value, dict):
        for key in value:
            found += _nodes(value[key], (*path, key))
    elif isinstance(value, list):
        for number in range(min(len(value), 40)):
            found += _nodes(value[number], (*path, number))
    return found


def _get(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def _change(draw: random.Random, value: Any) -> Any:
    """Another value in the place of this one, often of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int) and draw.random() < 0.5:
        return draw.choice((value + 1, value - 1, -value, value * 2, value * 10**6))
    if isinstance(value, float) and draw.random() < 0.5:
        return draw.choice((value * 1.001, -value, value + 1, value * 1e300))
    if isinstance(value, str) and value and draw.random() < 0.6:
        place = draw.randrange(len(value))
        other = draw.choice("0123456789abcdef/. x")
        return draw.choice((value[:place] + other + value[place + 1 :], value[:place], value + other, value.upper()))
    if isinstance(value, list) and len(value) > 1 and draw.random() < 0.7:
        kept = list(value)
        return draw.choice(
            (kept[::-1], kept[1:], kept[:-1], [*kept, kept[0]], kept + kept, [kept[0]] * len(kept), [kept])
        )
    if isinstance(value, dict) and value and draw.random() < 0.5:
        return dict(list(value.items())[1:])
    return draw.choice(WRONG)


def change_json(draw: random.Random, value: Any) -> tuple[Any, str]:
    """A JSON value with one thing changed."""
    copy = json.loads(json.dumps(value))
    paths = _nodes(copy)
    path = draw.choice(paths[1:] or paths)
    if not path or draw.random() < 0.02:
        wrong = draw.choice(WRONG)
        return wrong, f"all of it = {str(wrong)[:20]!r}"
    where, home, key = "/".join(map(str, path)), _get(copy, path[:-1]), path[-1]
    kind = draw.choice(("value", "value", "value", "delete", "swap", "add"))
    if kind == "delete":
        del home[key]
        return copy, f"delete {where}"
    if kind == "swap":
        other = draw.choice(
            [one for one in paths[1:] if one[: len(path)] != path and path[: len(one)] != one] or [path]
        )
        there = _get(copy, other[:-1])
        home[key], there[other[-1]] = there[other[-1]], home[key]
        return copy, f"swap {where} and {'/'.join(map(str, other))}"
    if kind == "add" and isinstance(home, dict):
        name = draw.choice(("x", "", "format", f"{key} "))
        home[name] = draw.choice(WRONG)
        return copy, f"add {name!r} beside {where}"
    home[key] = _change(draw, home[key])
    return copy, f"{where} = {str(home[key])[:40]!r}"


def _dump(value: Any, indent: int | None = 2) -> bytes:
    return json.dumps(value, indent=indent, ensure_ascii=True).encode()


def json_value(draw: random.Random, content: bytes) -> tuple[bytes, str]:
    try:
        value = json.loads(content)
    except ValueError as error:
        raise NoFit from error
    if draw.random() < 0.05:
        return b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "10,000 deep"
    if draw.random() < 0.03 and isinstance(value, dict):
        return _dump(dict(reversed(value.items()))), "keys backwards"
    changed, word = change_json(draw, value)
    return _dump(changed), word


def json_line(draw: random.Random, content: bytes) -> tuple[bytes, str]:
    lines = content.splitlines()
    if not lines:
        raise NoFit
    number = draw.randrange(len(lines))
    kind = draw.choice(("value", "value", "value", "drop", "twice", "backwards", "blank", "torn", "swap"))
    if kind == "value":
        try:
            changed, word = change_json(draw, json.loads(lines[number]))
        except ValueError as error:
            raise NoFit from error
        lines[number] = _dump(changed, None)
        return b"\n".join(lines) + b"\n", f"line {number + 1}: {word}"
    if kind == "drop":
        del lines[number]
    elif kind == "twice":
        lines.insert(number, lines[number])
    elif kind == "backwards":
        lines.reverse()
    elif kind == "blank":
        lines[number] = b""
    elif kind == "torn":
        lines[number] = lines[number][: draw.randrange(len(lines[number]) + 1)]
    else:
        other = draw.randrange(len(lines))
        lines[number], lines[other] = lines[other], lines[number]
    return b"\n".join(lines) + b"\n", f"line {number + 1}: {kind}"


# --- text ------------------------------------------------------------------------------------------------------------

WORDS = (
    b"true",
    b"-1",
    b"0",
    b'""',
    b"nan",
    b"inf",
    b"1e999",
    b"[]",
    b"{}",
    b'"x"',
    b"99999999999999999999",
    b"[1, 2]",
    b"",
)


def text_line(draw: random.Random, content: bytes) -> tuple[bytes, str]:
    """Tables, lists and recipes by their lines and fields."""
    lines = content.split(b"\n")
    number = draw.randrange(len(lines))
    line = lines[number]
    kind = draw.choice(
        ("field", "field", "field", "drop", "twice", "swap", "separator", "encoding", "ends", "header", "quote")
    )
    if kind == "field":
        mark = b"=" if b"=" in line else b"," if b"," in line else b" "
        parts = line.split(mark)
        place = draw.randrange(len(parts))
        parts[place] = draw.choice((*WORDS, parts[place][::-1], parts[place].upper(), parts[place] + b"x"))
        lines[number] = mark.join(parts)
        return b"\n".join(lines), f"line {number + 1}: {lines[number][:60]!r}"
    if kind == "drop":
        del lines[number]
    elif kind == "twice":
        lines.insert(number, line)
    elif kind == "swap":
        other = draw.randrange(len(lines))
        lines[number], lines[other] = lines[other], line
    elif kind == "separator":
        a, b = draw.sample((b",", b";", b"\t", b" ", b"=", b"/", b"\\"), 2)
        lines = [one.replace(a, b) for one in lines]
    elif kind == "encoding":
        try:
            return content.decode().encode(draw.choice(("utf-16", "utf-8-sig", "utf-32"))), "another encoding"
        except UnicodeDecodeError as error:
            raise NoFit from error
    elif kind == "ends":
        return draw.choice((b"\r\n", b"\r", b"\n\n", b"\n,\n", b"\n \n")).join(lines), "other line ends"
    elif kind == "header":
        lines[0] = draw.choice((lines[0].upper(), lines[0].replace(b"a", b"o"), b"", b" " + lines[0], lines[0] + b",x"))
    else:
        lines[number] = line[: len(line) // 2] + b'"' + line[len(line) // 2 :]
    return b"\n".join(lines), f"line {number + 1}: {kind}"


# --- archives --------------------------------------------------------------------------------------------------------


def _members(content: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {one.filename: archive.read(one) for one in archive.infolist()}
    except Exception as error:
        raise NoFit from error


def _zipped(members: list[tuple[str, bytes]], kind: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", kind) as archive:
        warnings.simplefilter("ignore")  # a name that stands in it twice is meant
        for name, value in members:
            archive.writestr(zipfile.ZipInfo(name), value, kind)
    return out.getvalue()


def zip_members(draw: random.Random, content: bytes) -> tuple[bytes, str]:
    """Members with whole checksums, so that only their content tells."""
    members = _members(content)
    if not members:
        raise NoFit
    names = list(members)
    one, other = draw.choice(names), draw.choice(names)
    kind = draw.choice(("swap", "drop", "bytes", "bytes", "rename", "twice", "packed", "foreign"))
    if kind == "swap":
        members[one], members[other] = members[other], members[one]
        word = f"swap {one} and {other}"
    elif kind == "drop":
        del members[one]
        word = f"drop {one}"
    elif kind == "bytes":
        members[one], word = draw.choice(BYTES)(draw, members[one])
        word = f"{one}: {word}"
    elif kind == "rename":
        name = draw.choice(("x", one + ".npy", one[:-1], "../" + one, other + "x"))
        members = {name if key == one else key: value for key, value in members.items()}
        word = f"{one} is called {name}"
    elif kind == "twice":
        return _zipped([*members.items(), (one, members[other])]), f"{one} twice"
    elif kind == "packed":
        return _zipped(list(members.items()), zipfile.ZIP_DEFLATED), "compressed"
    else:
        members["x.npy"] = draw.choice((b"", b"\x93NUMPY", draw.randbytes(60)))
        word = "a foreign member"
    return _zipped(list(members.items())), word


def _npy(value: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, value, allow_pickle=True)
    return out.getvalue()


def _header(text: str, data: bytes = b"") -> bytes:
    padded = text.encode() + b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded + data


def change_array(draw: random.Random, value: np.ndarray) -> tuple[bytes, str]:
    """An `.npy` file with another array."""
    kind = draw.choice(("type", "shape", "rows", "one", "one", "special", "order", "header", "object"))
    if kind == "type":
        wanted = draw.choice(("i8", "f4", "f8", "?", "u1", "i1", "U8", "S8", "c16", "M8[s]", ">f4", "f2"))
        try:
            with np.errstate(all="ignore"):
                return _npy(value.astype(wanted)), f"type {wanted}"
        except (ValueError, TypeError, OverflowError) as error:
            raise NoFit from error
    if kind == "shape":
        changed = draw.choice((value.T, value.reshape(-1), value[None], value[..., None]))
        return _npy(changed), f"shape {changed.shape} for {value.shape}"
    if kind == "rows" and value.ndim:
        changed = draw.choice((value[:-1], value[1:], value[:0], np.concatenate([value, value[:1]]), value[..., :-1]))
        return _npy(changed), f"shape {changed.shape} for {value.shape}"
    if kind == "one" and value.size:
        changed = value.copy()
        place = draw.randrange(value.size)
        if value.dtype.kind in "US":
            changed.flat[place] = draw.choice(("", "x", "0"))
        else:
            with np.errstate(all="ignore"):
                changed.flat[place] = (changed.flat[place] == 0) if value.dtype.kind in "b" else changed.flat[place] + 1
        return _npy(changed), f"entry {place} = {changed.flat[place]!r}"
    if kind == "special" and value.dtype.kind in "fiu" and value.size:
        changed = value.astype("f8") if draw.random() < 0.5 else value.copy()
        if changed.dtype.kind == "f":
            with np.errstate(all="ignore"):
                changed.flat[draw.randrange(value.size)] = draw.choice((np.nan, np.inf, -np.inf, 1e300, -1, 0.5))
        else:
            info = np.iinfo(changed.dtype)
            changed.flat[draw.randrange(value.size)] = draw.choice((info.min, info.max))
        return _npy(changed), f"a special value of {changed.dtype}"
    if kind == "order" and value.ndim:
        return _npy(draw.choice((value[::-1].copy(), np.roll(value, 1, 0), np.asfortranarray(value)))), "another order"
    if kind == "object":
        return _npy(np.array([{"x": 1}, None], dtype=object)), "Python objects"
    descr = draw.choice((repr(value.dtype.str), "'|O'", "'<U99999999'", "'zz'", "[('a', '<f4')]", "1", "'|V8'"))
    shape = draw.choice(
        (f"({BOMB},)", f"(-1, {value.size})", "(1,", "'x'", repr(value.shape), "(0,)", "(2.0,)", "(" * 300)
    )
    return _header(
        f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}", value.tobytes()[:512]
    ), f"header {descr} {shape}"


def npz_arrays(draw: random.Random, content: bytes) -> tuple[bytes, str]:
    members = _members(content)
    names = [name for name in members if name.endswith(".npy")]
    if not names:
        raise NoFit
    name = draw.choice(names)
    try:
        value = np.lib.format.read_array(io.BytesIO(members[name]))
    except ValueError as error:
        raise NoFit from error
    members[name], word = change_array(draw, np.asarray(value))
    return _zipped(list(members.items())), f"{name}: {word}"


def npy_array(draw: random.Random, content: bytes) -> tuple[bytes, str]:
    try:
        value = np.lib.format.read_array(io.BytesIO(content))
    except ValueError as error:
        raise NoFit from error
    return change_array(draw, value)


# --- safetensors -----------------------------------------------------------------------------------------------------


def tensors(draw: random.Random, content: bytes) -> tuple[bytes, str]:
    """The header of a safetensors file: names, types, shapes and places of the tensors."""
    size = struct.unpack("<Q", content[:8])[0]
    try:
        header = json.loads(content[8 : 8 + size])
    except ValueError as error:
        raise NoFit from error
    data, names = content[8 + size :], [name for name in header if name != "__metadata__"]
    one, other = draw.choice(names), draw.choice(names)
    kind = draw.choice(("swap", "rename", "type", "shape", "value", "json", "size", "place"))
    if kind == "swap":
        header[one], header[other] = header[other], header[one]
        word = f"swap {one} and {other}"
    elif kind == "rename":
        header = {f"{name}x" if name == one else name: value for name, value in header.items()}
        word = f"{one} renamed"
    elif kind == "type":
        header[one]["dtype"] = draw.choice(("F64", "F16", "BF16", "I32", "U8", "BOOL", "X", ""))
        word = f"{one} is {header[one]['dtype']}"
    elif kind == "shape":
        shape = header[one]["shape"]
        header[one]["shape"] = draw.choice((shape[::-1], [1, *shape], [], [BOMB], [-1], shape[:-1], [*shape, 1]))
        word = f"{one} has shape {header[one]['shape']}"
    elif kind == "value" and len(data) >= 4:
        place = 4 * draw.randrange(len(data) // 4)
        value = struct.pack("<f", draw.choice((float("nan"), float("inf"), 0.0, 1e30, -0.125)))
        data, word = data[:place] + value + data[place + 4 :], f"value at {place}"
    elif kind == "place":
        start, end = header[one]["data_offsets"]
        header[one]["data_offsets"] = draw.choice(([start + 4, end + 4], [end, start], [0, end - start], [start, BOMB]))
        word = f"{one} lies at {header[one]['data_offsets']}"
    elif kind == "size":
        told = draw.choice((0, size - 1, size + 1, BOMB, 2**64 - 1))
        return struct.pack("<Q", told) + content[8:], f"header of {told} bytes"
    else:
        header, word = change_json(draw, header)
    text = _dump(header, None)
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data, word


# --- what lies there is no file --------------------------------------------------------------------------------------


def _sparse(path: Path, draw: random.Random) -> str:
    with path.open("r+b") as stream:
        stream.truncate(SPARSE)
    return "40 GB, most of it a hole"


def _folder(path: Path, draw: random.Random) -> str:
    path.unlink()
    path.mkdir()
    return "a folder"


def _pipe(path: Path, draw: random.Random) -> str:
    path.unlink()
    os.mkfifo(path)
    return "a pipe"


def _link(path: Path, draw: random.Random) -> str:
    target = draw.choice(("/dev/zero", path.name, "nothing-here", "/dev/null", "."))
    path.unlink()
    path.symlink_to(target)
    return f"a link to {'itself' if target == path.name else target}"


def _gone(path: Path, draw: random.Random) -> str:
    path.unlink()
    return "gone"


def _exchanged(path: Path, draw: random.Random) -> str:
    others = sorted(one for one in path.parent.iterdir() if one.is_file() and one != path)
    if not others:
        raise NoFit
    other = draw.choice(others)
    spare = path.with_name("spare")
    path.rename(spare)
    other.rename(path)
    spare.rename(other)
    return f"{path.name} and {other.name} have changed names"


def _copied(path: Path, draw: random.Random) -> str:
    others = sorted(one for one in path.parent.rglob("*") if one.is_file() and one != path and not one.is_symlink())
    if not others:
        raise NoFit
    other = draw.choice(others)
    shutil.copyfile(other, path)
    return f"a copy of {other.name}"


PLACES = (_sparse, _folder, _pipe, _link, _link, _gone, _exchanged, _copied)

# --- the choice ------------------------------------------------------------------------------------------------------

FAMILIES: tuple[tuple[str, tuple[Mutator, ...]], ...] = (
    (r"\.json$", (json_value,)),
    (r"\.jsonl$", (json_line, json_line, text_line)),
    (r"\.(csv|toml|txt|synset.*)$", (text_line,)),
    (r"\.npz$", (npz_arrays, npz_arrays, zip_members)),
    (r"\.npy$", (npy_array,)),
    (r"\.(pt|pt2|zip)$", (zip_members,)),
    (r"\.safetensors$", (tensors,)),
)
SHARE_OF_PLACES = 0.06


def mutate(draw: random.Random, path: Path) -> str:
    """Change a file in place.

    Args:
        draw: where all choices come from.
        path: the file, which is rewritten, replaced or removed.

    Returns:
        What was done, in words.
    """
    if draw.random() < SHARE_OF_PLACES:
        try:
            return draw.choice(PLACES)(path, draw)
        except NoFit:
            pass
    content = path.read_bytes()
    own = next((mutators for pattern, mutators in FAMILIES if re.search(pattern, path.name)), ())
    for _ in range(50):
        mutators = own if own and draw.random() < 0.65 else BYTES
        try:
            changed, word = draw.choice(mutators)(draw, content)
        except NoFit:
            continue
        if changed != content:
            path.write_bytes(changed)
            return word
    path.write_bytes(b"")
    return "empty"
