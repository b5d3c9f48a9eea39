"""What `infra/` makes is what `flowcraft provision` makes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flowcraft_azure.containers import PARTITION_PATH
from flowcraft_azure.provision import INDEXED
from flowcraft_azure.settings import DEFAULT_BLOB_CONTAINER

INFRA = Path(__file__).parents[2] / "infra"


def indexed_by_terraform(kind: str) -> list[str]:
    text = (INFRA / "terraform" / "main.tf").read_text()
    found = re.search(rf"{kind} = {{[^}}]*indexed = \[([^\]]*)\]", text)
    assert found
    return re.findall(r'"([^"]+)"', found.group(1))


def indexed_by_script(kind: str) -> list[str]:
    text = (INFRA / "azure-cli" / "create.sh").read_text()
    found = re.search(rf'^container "\${kind.upper()}_CONTAINER"((?:.*\\\n)*.*)$', text, re.M)
    assert found
    return re.findall(r"'([^']+)'", found.group(1))


@pytest.mark.parametrize("kind", ["status", "context"])
def test_containers_index_the_same_paths(kind: str) -> None:
    assert indexed_by_terraform(kind) == list(INDEXED[kind])
    assert indexed_by_script(kind) == list(INDEXED[kind])


def test_containers_have_the_same_partition_key() -> None:
    assert f'partition_key_paths   = ["{PARTITION_PATH}"]' in (INFRA / "terraform" / "main.tf").read_text()
    assert f"--partition-key-path {PARTITION_PATH} " in (INFRA / "azure-cli" / "create.sh").read_text()


def test_large_values_have_the_container_that_workers_expect() -> None:
    assert f'value_container = "{DEFAULT_BLOB_CONTAINER}"' in (INFRA / "terraform" / "main.tf").read_text()
    script = (INFRA / "azure-cli" / "create.sh").read_text()
    assert f"VALUE_CONTAINER={DEFAULT_BLOB_CONTAINER} " in script
