"""No secret leaves through a log."""

from __future__ import annotations

from flowcraft.concealment import HIDDEN, Concealment
from flowcraft_cli.logs import SecretHiding

STORAGE = "DefaultEndpointsProtocol=https;AccountName=shop;AccountKey=a2V5LW9mLXNob3A=;EndpointSuffix=x"


def test_a_secret_is_hidden_wherever_it_stands() -> None:
    hide = SecretHiding(Concealment([STORAGE, "redis://:hunter2@h:6379/0"]))

    entry = hide(
        None,
        "info",
        {
            "event": f"connecting to {STORAGE}",
            "exception": "Traceback ... redis://:hunter2@h:6379/0 refused",
            "nested": {"list": ["the key a2V5LW9mLXNob3A= alone"]},
            "error": ValueError("bad redis://:hunter2@h:6379/0"),
            "count": 3,
        },
    )

    assert entry["event"] == f"connecting to {HIDDEN}"
    assert entry["nested"] == {"list": [f"the key {HIDDEN} alone"]}
    assert entry["count"] == 3
    assert "hunter2" not in repr(entry)
    assert "a2V5" not in repr(entry)


def test_the_password_of_a_url_is_hidden_alone_too() -> None:
    """Clients tell hosts, users and passwords apart, and may print one of them."""
    hide = SecretHiding(Concealment(["rediss://user:hunter2secret@h:6380/0"]))

    assert "hunter2secret" not in str(hide(None, "info", {"event": "AUTH user hunter2secret failed"}))


def test_without_secrets_nothing_changes() -> None:
    assert SecretHiding(Concealment([]))(None, "info", {"event": "as it is"}) == {"event": "as it is"}
