"""Container images as OCI archives, written with nothing but the standard library."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_MEDIA = "application/vnd.oci.image"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Layer:
    """A file system layer: an uncompressed tar file and its SHA-256."""

    path: Path
    digest: str
    size: int

    @classmethod
    def of(cls, path: Path) -> Layer:
        """Read a finished layer file; its digest is kept in a file beside it."""
        beside = path.with_suffix(".sha256")
        if not beside.exists():
            beside.write_text(_file_digest(path))
        return cls(path, beside.read_text(), path.stat().st_size)

    @classmethod
    def pack(cls, folder: Path, path: Path, prefix: str = "") -> Layer:
        """Write a folder as a layer: sorted, owned by root, without times: equal content is one digest.

        Args:
            folder: What to pack.
            path: The tar file to write.
            prefix: The folder in the image, without a leading slash.
        """
        partial = path.with_suffix(f".{os.getpid()}.partial")
        with tarfile.open(partial, "w", format=tarfile.GNU_FORMAT) as tar:
            parents = [part for part in reversed(Path(prefix).parents) if part != Path()]
            for parent in parents:
                tar.addfile(_folder_entry(str(parent)))
            tar.add(folder, prefix or ".", filter=_plain)
        path.with_suffix(".sha256").unlink(missing_ok=True)
        partial.rename(path)
        return cls.of(path)


@dataclass(frozen=True, slots=True)
class ImageConfiguration:
    """What a container of the image is started with."""

    environment: Mapping[str, str] = field(default_factory=dict)
    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    user: str = ""
    folder: str = "/"

    def document(self, layers: Sequence[Layer]) -> bytes:
        """The configuration blob."""
        config = {
            "Env": [f"{name}={value}" for name, value in self.environment.items()],
            "Entrypoint": list(self.entrypoint),
            "Cmd": list(self.command),
            "User": self.user,
            "WorkingDir": self.folder,
        }
        machine = platform.machine()
        document = {
            "architecture": _ARCHITECTURES.get(machine, machine),
            "os": "linux",
            "config": {name: value for name, value in config.items() if value},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.digest}" for layer in layers]},
        }
        return json.dumps(document).encode()


@dataclass(frozen=True, slots=True)
class Image:
    """An image by its name; layers lie on each other from left to right."""

    reference: str
    layers: Sequence[Layer]
    configuration: ImageConfiguration


def write_archive(path: Path, *images: Image) -> None:
    """Write an archive that `ctr images import` reads; what images share is in it once."""
    blobs: dict[str, bytes | Path] = {}
    manifests = []
    for image in images:
        config = image.configuration.document(image.layers)
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": f"{_MEDIA}.manifest.v1+json",
                "config": _descriptor("config.v1+json", config),
                "layers": [
                    {
                        "mediaType": f"{_MEDIA}.layer.v1.tar",
                        "digest": f"sha256:{one.digest}",
                        "size": one.size,
                    }
                    for one in image.layers
                ],
            }
        ).encode()
        names = {
            "io.containerd.image.name": image.reference,
            "org.opencontainers.image.ref.name": image.reference.rpartition(":")[2],
        }
        manifests.append({**_descriptor("manifest.v1+json", manifest), "annotations": names})
        blobs |= {hashlib.sha256(blob).hexdigest(): blob for blob in (config, manifest)}
        blobs |= {one.digest: one.path for one in image.layers}
    with tarfile.open(path, "w") as tar:
        _put(tar, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        _put(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": manifests}).encode())
        for digest, blob in blobs.items():
            name = f"blobs/sha256/{digest}"
            if isinstance(blob, bytes):
                _put(tar, name, blob)
            else:
                tar.add(blob, name)


def write_image_of_folder(
    path: Path, reference: str, folder: Path, configuration: ImageConfiguration
) -> None:
    """Write an image archive with one folder as its whole file system."""
    with tempfile.TemporaryDirectory(dir=path.parent) as work:
        layer = Layer.pack(folder, Path(work, "layer.tar"))
        write_archive(path, Image(reference, [layer], configuration))


def _descriptor(kind: str, blob: bytes) -> dict[str, object]:
    digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
    return {"mediaType": f"{_MEDIA}.{kind}", "digest": digest, "size": len(blob)}


def _put(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    return entry


def _folder_entry(name: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = tarfile.DIRTYPE
    entry.mode = 0o755
    return entry


def _file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
