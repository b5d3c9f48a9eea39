"""A benchmark of durable commits refuses folders whose file system forgets or is far away."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks import disk


@pytest.mark.parametrize(("kind", "refused"), [("tmpfs", True), ("nfs4", True), ("ext4", False)])
def test_memory_and_network_file_systems_are_unfit(kind: str | None, refused: bool) -> None:
    assert disk.unfit(kind) is refused


def test_the_first_folder_on_a_disk_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory, local = tmp_path / "memory", tmp_path / "local"
    memory.mkdir()
    local.mkdir()
    monkeypatch.setattr(disk, "file_system", lambda at: "tmpfs" if at == memory else "ext4")
    assert disk.folder_on_disk([tmp_path / "missing", memory, local]).parent == local


def test_where_there_is_no_disk_the_message_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "file_system", lambda _at: "tmpfs")
    with pytest.raises(disk.NoDiskError, match=r"is on tmpfs.*give one with --folder"):
        disk.folder_on_disk([tmp_path])


def test_raw_commits_are_counted_and_leave_no_file(tmp_path: Path) -> None:
    assert disk.raw_commits_per_s(tmp_path, seconds=0.01) > 0
    assert not list(tmp_path.iterdir())
