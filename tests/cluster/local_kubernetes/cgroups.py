"""What is not namespaced on a machine: control groups and a few kernel settings that the kubelet changes."""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path

from .namespaces import wait_until
from .programs import locked
from .settings import ClusterError

_ROOT = Path("/sys/fs/cgroup")
_SHARED = Path("/run/flowcraft-clusters")
_SYSCTLS = (
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)
"""What the kubelet sets on start (``protectKernelDefaults`` off)."""


def create_cgroup(name: str) -> None:
    """Make a node's group in every version 1 controller.

    Raises:
        ClusterError: The machine has only version 2.
    """
    controllers = _hierarchies("tasks")
    if not controllers:
        raise ClusterError("this machine has no cgroup v1 controllers; use a machine with Docker and kind")
    for controller in controllers:
        (controller / name).mkdir(parents=True, exist_ok=True)
    for group in (Path(name).parent, Path(name)):  # a new cpuset has neither cores nor memory
        for file in ("cpuset.cpus", "cpuset.mems"):
            given = (_ROOT / "cpuset" / file).read_text()
            (_ROOT / "cpuset" / group / file).write_text(given)


def remove_cgroup(name: str) -> None:
    """Remove a group with all below it, once its processes have ended."""
    for controller in _hierarchies("cgroup.procs"):  # in a hybrid, the kubelet makes one in version 2 too
        wait_until(f"removal of cgroup {name}", 10, functools.partial(_removed, controller / name))


def _hierarchies(with_file: str) -> list[Path]:
    return sorted(path for path in _ROOT.iterdir() if (path / with_file).exists() and not path.is_symlink())


def _removed(top: Path) -> bool:
    for group in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
        _try_rmdir(group)
    _try_rmdir(top)
    return not top.exists()


def _try_rmdir(group: Path) -> None:
    try:
        group.rmdir()
    except OSError:  # a process in it is still ending
        return


def keep_sysctls(identity: str) -> None:
    """Remember the machine's kernel settings before its first cluster starts."""
    _SHARED.mkdir(exist_ok=True)
    with locked(_SHARED / "lock"):
        kept = _SHARED / "sysctls.json"
        if not kept.exists():
            kept.write_text(json.dumps({name: Path("/proc/sys", name).read_text() for name in _SYSCTLS}))
        (_SHARED / f"{identity}.user").touch()


def restore_sysctls(identity: str) -> None:
    """Put the kernel settings back when this was the machine's last cluster."""
    if not _SHARED.exists():
        return
    with locked(_SHARED / "lock"):
        (_SHARED / f"{identity}.user").unlink(missing_ok=True)
        if any(_SHARED.glob("*.user")):
            return
        kept = _SHARED / "sysctls.json"
        if kept.exists():
            for name, value in json.loads(kept.read_text()).items():
                Path("/proc/sys", name).write_text(value)
        shutil.rmtree(_SHARED)
