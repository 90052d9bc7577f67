"""Walls around a process: limits, and where Linux allows it no network, no other files, no other processes.

Nothing here needs root or another program: namespaces (`man 7 namespaces`) and Landlock (`man 7 landlock`)
are for everybody, if the system lets them. What can't be had is left out, and named by :func:`confine`.
"""

from __future__ import annotations

import ctypes
import os
import resource
import site
import struct
import sys
import sysconfig
from contextlib import suppress
from pathlib import Path

NEWNS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
NO_NEW_PRIVILEGES, SUBREAPER, DEATH_SIGNAL, DROP_BOUND = 38, 36, 1, 24
CAPSET = {"x86_64": 126, "aarch64": 91}
LANDLOCK = (444, 445, 446)  # the same on all machines: make rules, add one, apply
READ_ONLY = (1 << 0) | (1 << 2) | (1 << 3)  # execute, read a file, list a folder
EVERYTHING = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 4: 0x7FFF}  # by the kernel's version of Landlock
FILES_ONLY = (1 << 0) | (1 << 1) | (1 << 2) | (1 << 14) | (1 << 15)  # rights that a plain file can have
PUBLIC = (
    "/etc/ld.so.cache /etc/localtime /etc/passwd /etc/group /etc/nsswitch.conf /etc/hosts /etc/fonts "
    "/etc/ssl /etc/mime.types /etc/alternatives /proc/cpuinfo /proc/meminfo /proc/stat /proc/sys/vm "
    "/sys/devices/system /usr /lib /lib64 /lib32 /bin /sbin"
).split()
DEVICES = "/dev/null /dev/zero /dev/urandom /dev/random /dev/full".split()
WALLS = ("other files", "network", "other processes", "memory", "size of files")


def _libc():
    return ctypes.CDLL(None, use_errno=True)


def limit(memory: int, file_size: int, seconds: float) -> list[str]:
    """Limit this process and its children for good, in bytes and seconds of CPU; the walls that hold then."""
    held = []
    now = _virtual()
    wanted = {
        "memory": (resource.RLIMIT_AS, now + memory if now else None),
        "size of files": (resource.RLIMIT_FSIZE, file_size),
        "cores": (resource.RLIMIT_CORE, 0),
        "open files": (resource.RLIMIT_NOFILE, 128),
        "seconds": (
            resource.RLIMIT_CPU,
            int(resource.getrusage(resource.RUSAGE_SELF).ru_utime + seconds) + 2,
        ),
    }
    for name, (which, value) in wanted.items():
        with suppress(OSError, ValueError):
            if value is not None:
                resource.setrlimit(which, (value, value))
                held.append(name)
    return held


def _virtual() -> int | None:
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return None


def separate() -> list[str]:
    """Take this process off the network, and its children off all other processes; the walls that hold then.

    To be called by a process of one thread, that then starts the one to be confined.
    """
    if sys.platform != "linux":
        return []
    libc, user, group = _libc(), os.getuid(), os.getgid()
    for flags in (NEWUSER | NEWNET | NEWPID | NEWIPC | NEWNS, NEWUSER | NEWNET | NEWPID, NEWUSER | NEWNET):
        if libc.unshare(flags) == 0:
            break
    else:
        return []
    with suppress(OSError):  # names for who we are; without them it works too
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    if flags & NEWNS:
        # The sockets of services, such as Docker's, lie in /run: an empty folder takes its place.
        private, recursive = 1 << 18, 1 << 14
        if libc.mount(None, b"/", None, private | recursive, None) == 0:
            libc.mount(b"none", b"/run", b"tmpfs", 1, b"size=4k")
    return ["network", "other processes"] if flags & NEWPID else ["network"]


def shut(scratch: Path, readable: list[Path]) -> list[str]:
    """Give up all rights but to read Python and these paths and to write to `scratch`; the walls that hold.

    It can't be taken back. The rights of root are given up as well.
    """
    if sys.platform != "linux":
        return []
    libc, held = _libc(), []
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if _landlock(libc, scratch, readable):
        held.append("other files")
    for capability in range(64):
        libc.prctl(DROP_BOUND, capability, 0, 0, 0)
    if os.uname().machine in CAPSET:
        header, none = struct.pack("Ii", 0x20080522, 0), bytes(24)
        libc.syscall(CAPSET[os.uname().machine], header, none)
    return held


def _landlock(libc, scratch: Path, readable: list[Path]) -> bool:
    version = libc.syscall(LANDLOCK[0], None, 0, 1)
    if version < 1:
        return False
    rights = EVERYTHING.get(version, 0xFFFF)
    # From version 4 on a second number is for the network, from 6 on a third for signals and sockets.
    rules = struct.pack("QQQ", rights, 0, 3 if version >= 6 else 0)[
        : 8 if version < 4 else 16 if version < 6 else 24
    ]
    handle = libc.syscall(LANDLOCK[0], rules, len(rules), 0)
    if handle < 0:
        return False
    try:
        allowed = [(scratch, rights), *((Path(p), READ_ONLY) for p in (*PUBLIC, *readable))]
        allowed += [(Path(p), READ_ONLY | (1 << 1)) for p in DEVICES]
        for path, what in allowed:
            with suppress(OSError):
                place = os.open(path, os.O_PATH | os.O_CLOEXEC)
                what &= rights if path.is_dir() else rights & FILES_ONLY
                libc.syscall(LANDLOCK[1], handle, 1, struct.pack("=Qi", what, place), 0)
                os.close(place)
        return libc.syscall(LANDLOCK[2], handle, 0) == 0
    finally:
        os.close(handle)


def python_paths() -> list[Path]:
    """Where Python, its packages and this library lie; a checkout around the library is left out."""
    places = {*sysconfig.get_paths().values(), *site.getsitepackages(), site.getusersitepackages()}
    places |= {sys.base_prefix, sys.prefix, str(Path(__file__).parents[1])}
    # Packages that are on the path by another way, as those of a virtual environment upon another.
    places |= {path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")}
    places |= {path for path in sys.path if path.startswith(sys.base_prefix)}
    return [path for place in places if (path := Path(place)).exists() and path != Path("/")]


# What the one who watches needs to know of processes.


def descendants(pid: int) -> list[int]:
    """Numbers of all processes that a process has started, and that these have."""
    found, left = [], [pid]
    while left:
        parent = left.pop()
        try:
            with open(f"/proc/{parent}/task/{parent}/children") as file:
                children = [int(child) for child in file.read().split()]
        except (OSError, ValueError):
            continue
        found += children
        left += children
    return found


def used(pid: int) -> tuple[int, float, float]:
    """What a process uses: bytes of memory of its own, seconds of CPU, seconds that it waited for a CPU."""
    memory = seconds = waited = 0
    with suppress(OSError, ValueError, IndexError):
        with open(f"/proc/{pid}/statm") as file:
            pages = file.read().split()
        memory = (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE")
        with open(f"/proc/{pid}/stat") as file:
            times = file.read().rsplit(")", 1)[1].split()
        seconds = sum(map(int, times[11:15])) / os.sysconf("SC_CLK_TCK")
        with open(f"/proc/{pid}/schedstat") as file:
            waited = int(file.read().split()[1]) / 1e9
    return memory, seconds, waited


def size_of(folder: Path, most: int = 10_000) -> tuple[int, int]:
    """Bytes and number of the files in a folder; counting ends at `most` files."""
    total = count = 0
    left = [folder]
    while left and count < most:
        with suppress(OSError), os.scandir(left.pop()) as entries:
            for entry in entries:
                count += 1
                with suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_size
                    if entry.is_dir(follow_symlinks=False):
                        left.append(Path(entry.path))
    return total, count
