"""Where Redis is: the forms in which people have its address, made one. Pure.

What is wrong with an address is told without quoting it: the part that cannot be read may be the password.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit, urlunsplit

CLUSTER: Final = "cluster"
"""Option of the address: ``?cluster=true`` says that it is of a cluster."""
_TRUE: Final = frozenset({"1", "true", "yes"})
_WANTED: Final = (
    "it should be rediss://:password@host:port/0, with / ? # @ [ ] and % of the password percent-encoded"
)


def redis_address(text: str) -> tuple[str, bool]:
    """The address as the client library takes it, and whether it says that it is of a cluster.

    The Azure portal's ``host:port,password=…,ssl=True`` is read, too.

    Raises:
        ValueError: it is no address; the text says what it should be.
    """
    return _of_cluster(_url(text) if "://" in text else _of_portal(text))


def split_address(text: str) -> SplitResult | None:
    """The parts of an address; None if it is none."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return None
    return parts


def _url(text: str) -> str:
    parts = split_address(text)
    if parts is None or parts.scheme not in {"redis", "rediss"} or not parts.hostname or "@" in parts.path:
        raise ValueError(_WANTED)
    return text


def _of_portal(text: str) -> str:
    place, *options = text.split(",")
    host, _, port = place.rpartition(":")
    if not host or not port.isdigit() or split_address(f"redis://{place}") is None:
        raise ValueError(_WANTED)
    values = dict(option.strip().split("=", 1) for option in options if "=" in option)
    named = {key.lower(): value for key, value in values.items()}
    secret = f":{quote(named['password'], safe='')}@" if named.get("password") else ""
    scheme = "rediss" if named.get("ssl", "").lower() == "true" else "redis"
    return f"{scheme}://{secret}{host}:{port}/{named.get('defaultdatabase', '0')}"


def _of_cluster(url: str) -> tuple[str, bool]:
    parts = urlsplit(url)
    options = parse_qsl(parts.query, keep_blank_values=True)
    rest = [(name, value) for name, value in options if name != CLUSTER]
    if len(rest) == len(options):
        return url, False
    said = any(value.strip().lower() in _TRUE for name, value in options if name == CLUSTER)
    return urlunsplit(parts._replace(query=urlencode(rest))), said
