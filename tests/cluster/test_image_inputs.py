"""What goes into an image: the right part of the lock, and layers that are the same for the same content."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from tests.cluster.local_kubernetes.lock_subset import subset
from tests.cluster.local_kubernetes.oci import Image, ImageConfiguration, Layer, write_archive

LOCK = """\
# made by a tool
alpha==1.0 \\
    --hash=sha256:aa
    # via ours
beta==2.0 ; sys_platform == 'linux' \\
    --hash=sha256:bb \\
    --hash=sha256:bc
    # via
    #   alpha
    #   viaduct
gamma==3.0 \\
    --hash=sha256:cc
    # via theirs (pyproject.toml:dev)
viaduct==4.0 \\
    --hash=sha256:dd
    # via theirs
"""


def test_subset_follows_requirements_and_keeps_markers_and_hashes() -> None:
    assert subset(LOCK, ["ours"]) == (
        "alpha==1.0 \\\n    --hash=sha256:aa\n"
        "beta==2.0 ; sys_platform == 'linux' \\\n    --hash=sha256:bb \\\n    --hash=sha256:bc\n"
    )


def test_subset_reads_a_name_that_begins_like_the_note() -> None:
    assert "beta==2.0" in subset(LOCK, ["theirs"])


def test_subset_leaves_out_what_is_there_already() -> None:
    assert subset(LOCK, ["ours"], beyond=["viaduct"]) == "alpha==1.0 \\\n    --hash=sha256:aa\n"


def test_subset_for_a_locked_package_holds_it() -> None:
    assert "viaduct==4.0" in subset(LOCK, ["viaduct"])


def test_subset_of_a_distribution_the_lock_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing in the lock is there for nobody"):
        subset(LOCK, ["ours", "nobody"])


def test_the_projects_lock_carries_what_each_image_needs_and_no_tools() -> None:
    lock = (Path(__file__).parents[2] / "requirements.lock").read_text()

    worker = subset(lock, ["flowcraft-runtime"])
    operator = subset(lock, ["flowcraft-operator"], beyond=["flowcraft-runtime"])

    assert "\nazure-cosmos==" in worker
    assert "\nkopf==" not in worker
    assert "\nkopf==" in operator
    assert "\npytest==" not in worker + operator
    assert not set(worker.splitlines()) & set(operator.splitlines())


def test_same_content_is_the_same_layer(tmp_path: Path) -> None:
    digests = []
    for number, order in enumerate((("a", "b"), ("b", "a"))):
        folder = tmp_path / f"content{number}"
        folder.mkdir()
        for name in order:
            (folder / name).write_text(name)
        digests.append(Layer.pack(folder, tmp_path / f"{number}.tar", "opt/here").digest)

    assert digests[0] == digests[1]


def test_archive_holds_what_images_share_once(tmp_path: Path) -> None:
    folder = tmp_path / "content"
    folder.mkdir()
    (folder / "file").write_text("content")
    layer = Layer.pack(folder, tmp_path / "layer.tar")
    configuration = ImageConfiguration({"A": "b"}, command=["x"], user="1:1", folder="/app")

    write_archive(
        tmp_path / "images.tar",
        Image("localhost/one:dev", [layer], configuration),
        Image("localhost/two:dev", [layer], configuration),
    )

    with tarfile.open(tmp_path / "images.tar") as archive:
        names = archive.getnames()
        index = json.load(archive.extractfile("index.json") or io.BytesIO())
    assert names.count(f"blobs/sha256/{layer.digest}") == 1
    assert [one["annotations"]["io.containerd.image.name"] for one in index["manifests"]] == [
        "localhost/one:dev",
        "localhost/two:dev",
    ]
