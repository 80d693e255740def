"""Which processor a speed was measured on: its name, and those of its features that counting depends on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

ASKED = ("popcnt", "avx2", "avx512f", "avx512bw", "avx512_vpopcntdq", "asimd", "sve")


def processor() -> str:
    """Name and features of this processor, and what compiled kernels are kept from using.

    >>> bool(processor())
    True
    """
    name, flags = platform.processor() or platform.machine(), set()
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() in ("flags", "Features"):
                flags = set(value.split())
    told = f"{name} ({', '.join(flag for flag in ASKED if flag in flags) or 'no known feature'})"
    held = os.environ.get("NUMBA_CPU_NAME")
    return f"{told}, kernels compiled for {held}" if held else told


if __name__ == "__main__":
    print(processor())
