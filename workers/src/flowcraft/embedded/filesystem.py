"""Which file systems can carry the file: a network mount has neither a disk's locks nor its shared memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

NETWORK_TYPES: Final = frozenset(
    {
        "9p",
        "afs",
        "azure",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "fuse.blobfuse",
        "fuse.blobfuse2",
        "fuse.ceph",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.juicefs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "prl_fs",
        "smb",
        "smb2",
        "smb3",
        "smbfs",
        "vboxsf",
        "virtiofs",
    }
)
"""Type names of `/proc/mounts` under which another machine may write, or shared memory is not coherent."""


def mount_type(path: Path, mounts: str) -> str | None:
    """The type of the file system that holds a path.

    Args:
        path: An absolute path without links.
        mounts: Text in the format of `/proc/mounts` (proc(5)): device, mount point, type; blanks in a mount
            point are written as octal escapes.

    Returns:
        The type name, or None where no line covers the path.
    """
    best: tuple[int, str] | None = None
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = Path(fields[1].encode().decode("unicode_escape").encode("latin-1").decode(errors="replace"))
        # A later mount on the same point hides the earlier one.
        if path.is_relative_to(point) and (best is None or len(point.parts) >= best[0]):
            best = (len(point.parts), fields[2])
    return best[1] if best else None


def network_file_system(path: Path) -> str | None:
    """The type of the network file system a path lies on; None on a local one, or where nobody can tell."""
    try:
        with open("/proc/mounts", encoding="utf-8", errors="replace") as file:
            mounts = file.read()
    except OSError:
        return None  # not Linux: SQLite's own locking errors are the only warning
    found = mount_type(Path(os.path.realpath(path)), mounts)
    return found if found in NETWORK_TYPES else None
