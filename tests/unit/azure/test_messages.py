"""Bodies of queue messages that may be base64."""

from __future__ import annotations

import base64

import pytest

from flowcraft_azure.queue import decoded


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("text", ['{"runId": "a"}', "Grüße", "[1]", " {}"])
def test_base64_is_decoded(text: str) -> None:
    assert decoded(encoded(text)) == text


@pytest.mark.parametrize("text", ['{"runId": "a"}', "[1]", "not base64!", "", "////", "Grüße"])
def test_what_is_no_base64_of_text_is_kept(text: str) -> None:
    assert decoded(text) == text
