"""The project's images for the local cluster: operator, worker base, and a worker with the shop example.

Three layers each: a base, the locked third-party packages, our own sources. The first two are kept by a hash
of their inputs, so that a change of ours costs seconds. With Docker the Dockerfiles make the same.
"""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path

from .lock_subset import subset
from .namespaces import check_call
from .oci import Image, ImageConfiguration, Layer
from .programs import locked, say
from .root_filesystem import PRODUCT_FOLDER, USER_ID, RootFilesystem
from .settings import ClusterError, Settings

_APP_FOLDER = "app"
_ENVIRONMENT = {
    "HOME": "/tmp",  # noqa: S108 - the one folder that a read-only root lets a container write to
    "LANG": "C.UTF-8",
    "PATH": f"/{PRODUCT_FOLDER}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONPATH": f"/{PRODUCT_FOLDER}:/{_APP_FOLDER}",
    "PYTHONUNBUFFERED": "1",
}
_SCRIPT = "#!/usr/bin/env python3\nimport sys\n\nfrom {module} import {function}\n\nsys.exit({function}())\n"


@dataclass(frozen=True, slots=True)
class Product:
    """What one image holds.

    Attributes:
        name: The product's name.
        distributions: Ours, by the folder that holds their ``pyproject.toml``.
        command: What a container runs if it is told nothing else.
        app: A folder of the clone whose content lies on the path, as a user's would.
        also: A further name of the image.
    """

    name: str
    distributions: Sequence[str]
    command: Sequence[str]
    app: str = ""
    also: str = ""

    @property
    def references(self) -> list[str]:
        """The image's full names."""
        return [f"localhost/{self.name}:dev", *([self.also] if self.also else [])]


_SHOP_IMAGE = "docker.io/example/shop:1.4.0"
"""What examples/shop/pool.yaml calls it, in full."""
PRODUCTS = (
    Product("flowcraft-worker", ["workers"], ["flowcraft", "worker"]),
    Product("flowcraft-operator", ["workers", "operator"], ["python3", "-m", "flowcraft_operator"]),
    Product("flowcraft-shop", ["workers"], ["flowcraft", "worker"], "examples/shop", _SHOP_IMAGE),
    Product("flowcraft-chores", ["workers"], ["flowcraft", "worker"], "tests/kubernetes/e2e/app"),
)
_DISTRIBUTION_NAMES = {"workers": "flowcraft-runtime", "operator": "flowcraft-operator"}


class ImageBuilder:
    """Builds images from a clone; what is not ours is taken from the cache."""

    def __init__(self, settings: Settings, work: Path) -> None:
        self._clone = settings.clone
        self._cache = settings.cache / "images"
        self._work = work
        self._root = RootFilesystem(settings.cache)

    def build(self, products: Sequence[Product]) -> list[Image]:
        """Build images; their own layers lie in the work folder.

        Raises:
            ClusterError: Something lacks, or a tool failed.
        """
        self._root.build()
        with locked(self._cache / "layers.lock"):
            root = self._root.layer()
            packages = [self._packages(product.distributions) for product in products]
        images: list[Image] = []
        for product, third_party in zip(products, packages, strict=True):
            layers = [root, *third_party, *self._own(product)]
            configuration = ImageConfiguration(
                environment=_ENVIRONMENT,
                command=product.command,
                user=f"{USER_ID}:{USER_ID}",
                folder=f"/{_APP_FOLDER}",
            )
            images += [Image(reference, layers, configuration) for reference in product.references]
        return images

    def _packages(self, distributions: Sequence[str]) -> list[Layer]:
        """Third-party layers: those of the first distribution, then what each further one adds."""
        lock = (self._clone / "requirements.lock").read_text()
        names = [_DISTRIBUTION_NAMES[folder] for folder in distributions]
        return [
            self._package_layer(subset(lock, [name], beyond=names[:position]))
            for position, name in enumerate(names)
        ]

    def _package_layer(self, requirements: str) -> Layer:
        inputs = f"{self._root.key}\n{requirements}\n{Path(__file__).read_text()}"
        path = self._cache / f"packages-{hashlib.sha256(inputs.encode()).hexdigest()[:16]}.tar"
        if path.exists():
            return Layer.of(path)
        with tempfile.TemporaryDirectory(dir=self._work) as folder:
            self._install(requirements, Path(folder))
            return Layer.pack(Path(folder), path, PRODUCT_FOLDER)

    def _install(self, requirements: str, target: Path) -> None:
        count = len(re.findall(r"^\w", requirements, re.M))
        say(f"installing {count} locked packages for an image")
        listed = self._work / "requirements.txt"
        listed.write_text(requirements)
        wheels = f"{platform.machine()}-manylinux_2_28"
        options = ["--python-version", self._root.python_version(), "--python-platform", wheels]
        safe = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--link-mode", "copy"]
        uv = [self._tool("uv"), "pip", "install", "--quiet", "--python", sys.executable]
        check_call([*uv, *options, *safe, "--target", str(target), "-r", str(listed)])
        shutil.rmtree(target / "bin", ignore_errors=True)  # they name the Python of this machine
        (target / ".lock").unlink(missing_ok=True)
        self._root.compile(target, PRODUCT_FOLDER)

    def _own(self, product: Product) -> list[Layer]:
        target = self._work / product.name
        for distribution in product.distributions:
            _unpack_wheel(self._wheel(distribution), target)
        self._root.compile(target, PRODUCT_FOLDER)
        layers = [Layer.pack(target, self._work / f"{product.name}.tar", PRODUCT_FOLDER)]
        if product.app:
            source, copy = self._clone / product.app, self._work / f"{product.name}-app"
            if not source.is_dir():
                raise ClusterError(f"there is no {product.app} to make an image of")
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", ".*"))
            self._root.compile(copy, _APP_FOLDER)
            layers.append(Layer.pack(copy, self._work / f"{product.name}-app.tar", _APP_FOLDER))
        return layers

    def _wheel(self, distribution: str) -> Path:
        folder = self._work / f"wheel-{distribution}"
        if not folder.exists():
            build = [self._tool("hatchling"), "build", "-t", "wheel", "-d", str(folder)]
            done = subprocess.run(
                build, cwd=self._clone / distribution, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise ClusterError(f"no wheel of {distribution}: {done.stderr.strip()[-500:]}")
        return next(folder.glob("*.whl"))

    def _tool(self, name: str) -> str:
        for folder in (Path(sys.executable).parent, self._clone / ".venv" / "bin"):
            if (folder / name).exists():
                return str(folder / name)
        raise ClusterError(
            f"{name} lacks: run this with the project's own environment (`make setup` makes it)"
        )


def _unpack_wheel(wheel: Path, target: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    for listed in target.glob("*.dist-info/entry_points.txt"):
        points = ConfigParser()
        points.read(listed)
        for name, place in points.items("console_scripts") if points.has_section("console_scripts") else ():
            module, _, function = place.partition(":")
            script = target / "bin" / name
            script.parent.mkdir(exist_ok=True)
            script.write_text(_SCRIPT.format(module=module, function=function))
            script.chmod(0o755)
