"""The `images` command."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from .cluster import LocalKubernetes
from .kind import KindCluster
from .oci import write_archive
from .products import PRODUCTS, ImageBuilder, Product
from .programs import say
from .selection import choose
from .settings import ClusterError, Settings

_HELP = "build the project's images and load them into the running cluster (with --output: write an archive)"


def main(arguments: list[str] | None = None) -> int:
    """Build and load; 0 when that worked, 1 with one line that says why not."""
    options = _parser().parse_args(arguments)
    products = [
        one for one in PRODUCTS if not options.names or one.name.removeprefix("flowcraft-") in options.names
    ]
    started = time.monotonic()
    try:
        settings = Settings.from_environment()
        if options.output:
            _build(settings, products, Path(options.output))
        else:
            _load(settings, products)
    except ClusterError as error:
        say(f"images: {error}")
        return 1
    names = ", ".join(reference for product in products for reference in product.references)
    say(f"{names}: {time.monotonic() - started:.1f} s")
    return 0


def _load(settings: Settings, products: list[Product]) -> None:
    cluster = choose(settings)
    if isinstance(cluster, KindCluster):
        for product in products:
            cluster.build_image(product.references, settings.clone, product.distributions[-1], product.app)
            for reference in product.references:
                cluster.load_image(reference, Path("-"))
        return
    with tempfile.TemporaryDirectory() as work:
        archive = Path(work, "images.tar")
        _build(settings, products, archive)
        _import(cluster, archive)


def _import(cluster: LocalKubernetes, archive: Path) -> None:
    cluster.load_image("", archive)  # the archive carries the names


def _build(settings: Settings, products: list[Product], archive: Path) -> None:
    with tempfile.TemporaryDirectory() as work:
        write_archive(archive, *ImageBuilder(settings, Path(work)).build(products))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("images", description=_HELP)
    names = [one.name.removeprefix("flowcraft-") for one in PRODUCTS]
    parser.add_argument("names", nargs="*", choices=[[], *names], help="which (all, unless told)")
    parser.add_argument(
        "--output", metavar="FILE", help="write one OCI archive with all of them; load nothing"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
