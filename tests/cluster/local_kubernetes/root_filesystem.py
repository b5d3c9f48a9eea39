"""The lowest layer of an image: a Python from the distribution's packages, unpacked without running them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from .namespaces import check_call
from .oci import Layer
from .programs import locked, say
from .settings import ClusterError

PRODUCT_FOLDER = "opt/flowcraft"
"""Where the third-party packages and ours lie in an image."""
USER_ID = 65532
_ROOTS = ("base-files", "busybox-static", "ca-certificates", "media-types", "netbase", "python3", "tzdata")
_ONLY_FOR_INSTALLING = frozenset(
    {"debconf", "dpkg", "install-info", "mailcap", "openssl", "perl-base", "tar"}
)
"""Packages that are needed by others' maintainer scripts alone, which are not run here."""
_SHELL = ("sh", "ls", "cat", "env", "sleep", "kill", "ps", "wget", "nslookup")
_UNUSED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/lintian",
    "usr/share/bug",
    "usr/share/pixmaps",
    "usr/share/applications",
    "usr/share/doc-base",
)
_COMPILE = ("python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash")


class RootFilesystem:
    """An unpacked file system in the cache, keyed by what it is made of."""

    def __init__(self, cache: Path) -> None:
        release = Path("/etc/os-release").read_bytes()
        source = Path(__file__).read_bytes()
        self.key = hashlib.sha256(release + os.uname().machine.encode() + source).hexdigest()[:16]
        self.folder = cache / "images" / f"root-{self.key}"

    def build(self) -> None:
        """Make it present.

        Raises:
            ClusterError: Not root, or a package cannot be had.
        """
        if os.geteuid() != 0:
            raise ClusterError("building images needs root: their files belong to it")
        if self.folder.is_dir():
            return
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.folder.parent / "root.lock"):
            if self.folder.is_dir():
                return
            say("unpacking a Python from the distribution's packages")
            partial = Path(tempfile.mkdtemp(prefix="root.", dir=self.folder.parent))
            try:
                self._unpack(partial)
                _complete(partial)
                check_call(["chroot", str(partial), *_COMPILE, *_library_folders(partial)])
                partial.rename(self.folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)

    def layer(self) -> Layer:
        """It as a layer, kept beside it."""
        path = self.folder.parent / f"{self.folder.name}.tar"
        return Layer.of(path) if path.exists() else Layer.pack(self.folder, path)

    def python_version(self) -> str:
        """The full version of the Python in it, which markers of requirements may ask for."""
        return check_call(["chroot", str(self.folder), "python3", "-c", _PRINT_VERSION]).strip()

    def compile(self, folder: Path, target: str) -> None:
        """Compile a folder's modules by the Python that will run them, in place.

        Args:
            folder: What to compile.
            target: Its path in the image, without a leading slash.
        """
        relocate = ("-s", "/mnt", "-p", f"/{target}", "/mnt")
        script = 'folder=$1 root=$2; shift 2; mount --bind "$folder" "$root/mnt"; exec chroot "$root" "$@"'
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-euc", script, "sh"]
        check_call([*command, str(folder), str(self.folder), *_COMPILE, *relocate])

    def _unpack(self, target: Path) -> None:
        for link in ("bin", "lib", "sbin", "lib64"):
            (target / "usr" / link).mkdir(parents=True, exist_ok=True)
            (target / link).symlink_to(f"usr/{link}")
        with tempfile.TemporaryDirectory(dir=target.parent) as downloads:
            _download(_ROOTS, Path(downloads))
            for package in sorted(Path(downloads).glob("*.deb")):
                contents = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE)
                extract = ["tar", "-x", "-C", str(target), "--keep-directory-symlink", "--no-same-owner"]
                unpacked = subprocess.run(extract, stdin=contents.stdout, check=False).returncode
                if unpacked or contents.wait():
                    raise ClusterError(f"cannot unpack {package.name}")


_PRINT_VERSION = "import platform; print(platform.python_version())"


def _download(roots: Iterable[str], folder: Path) -> None:
    """Fetch the packages that `roots` need, as files.

    Raises:
        ClusterError: A package cannot be had.
    """
    fetch = ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root"]
    try:
        check_call([*fetch, *_closure(roots)], folder=folder)
    except ClusterError:  # there are no package lists yet, or they name what is gone
        check_call(["apt-get", "update", "-qq"])
        check_call([*fetch, *_closure(roots)], folder=folder)


def _closure(roots: Iterable[str]) -> set[str]:
    """The packages needed to run, first alternatives first, without those needed only to install."""
    found: set[str] = set()
    level = set(roots)
    while level:
        found |= level
        level = _depends(sorted(level)) - found - _ONLY_FOR_INSTALLING
    return found


def _depends(names: list[str]) -> set[str]:
    strict = [
        "--no-recommends",
        "--no-suggests",
        "--no-conflicts",
        "--no-breaks",
        "--no-replaces",
        "--no-enhances",
    ]
    done = subprocess.run(
        ["apt-cache", "depends", *strict, *names], capture_output=True, text=True, check=False
    )
    wanted: set[str] = set()
    alternative = False
    for line in done.stdout.splitlines():
        match = re.match(r"^ ( |\|)(?:Pre)?Depends: (\S+)", line)
        if match is None:
            continue
        if not alternative and not match[2].startswith("<"):
            wanted.add(match[2].partition(":")[0])
        alternative = match[1] == "|"
    return wanted


def _library_folders(root: Path) -> list[str]:
    return [f"/{path.relative_to(root)}" for path in (root / "usr" / "lib").glob("python3*") if path.is_dir()]


def _complete(root: Path) -> None:
    """What maintainer scripts would have done, and what an image can do without."""
    for unused in _UNUSED:
        shutil.rmtree(root / unused, ignore_errors=True)
    for conversions in (root / "usr" / "lib").glob("*/gconv"):
        shutil.rmtree(conversions)
    for library in (root / "usr" / "lib").glob("python3.*"):
        for name in ("ensurepip", "idlelib", "lib2to3", "pydoc_data", "test"):
            shutil.rmtree(library / name, ignore_errors=True)
    for name in _SHELL:
        if not (root / "usr/bin" / name).exists():
            (root / "usr/bin" / name).symlink_to("busybox")
    authorities = sorted((root / "usr/share/ca-certificates/mozilla").glob("*.crt"))
    (root / "etc/ssl/certs").mkdir(parents=True, exist_ok=True)
    (root / "etc/ssl/certs/ca-certificates.crt").write_bytes(
        b"".join(path.read_bytes() for path in authorities)
    )
    for folder in ("app", "dev", "mnt", "proc", "sys", "tmp", PRODUCT_FOLDER):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc/nsswitch.conf").write_text("hosts: files dns\n")
    (root / "etc/passwd").write_text(
        f"root:x:0:0:root:/root:/bin/sh\nflowcraft:x:{USER_ID}:{USER_ID}::/tmp:/bin/sh\n"
    )
    (root / "etc/group").write_text(f"root:x:0:\nflowcraft:x:{USER_ID}:\n")
    root.chmod(0o755)
