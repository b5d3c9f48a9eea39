"""Laying a part of a pod template over another, as Kubernetes merges lists: by the keys of their items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

_MERGED: Final[Mapping[str, tuple[str, ...]]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "ports": ("containerPort", "protocol"),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "resourceClaims": ("name",),
    "hostAliases": ("ip",),
    "imagePullSecrets": ("name",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
}
"""Lists whose items are merged field by field, and the keys that tell them apart (core/v1, patchMergeKey)."""

_REPLACED: Final[Mapping[str, tuple[str, ...]]] = {"env": ("name",), "volumes": ("name",)}
"""Lists whose items are one of several kinds (a value or a reference): the item on top replaces the other."""

_DEFAULTS: Final = {"protocol": "TCP"}


class OverlayError(ValueError):
    """The overlay cannot be merged; the text says where and what to do."""


def laid_over(
    base: Mapping[str, Any], overlay: Mapping[str, Any], where: str = "template.spec"
) -> dict[str, Any]:
    """The base with the overlay on top; a null on top removes the field.

    Raises:
        OverlayError: an item of a keyed list has no key, or a list is laid over something else.
    """
    merged = dict(base)
    for name, top in overlay.items():
        if top is None:
            merged.pop(name, None)
        elif name in _MERGED or name in _REPLACED:
            merged[name] = _merged_list(name, merged.get(name) or [], top, f"{where}.{name}")
        elif isinstance(top, Mapping):
            below = merged.get(name)
            merged[name] = laid_over(below if isinstance(below, Mapping) else {}, top, f"{where}.{name}")
        else:
            merged[name] = top
    return merged


def _merged_list(name: str, base: Sequence[Any], top: Any, where: str) -> list[Any]:
    if not isinstance(top, list):
        raise OverlayError(f"{where} must be a list")
    keys = _MERGED.get(name) or _REPLACED[name]
    merged = {_key(item, keys, where): item for item in base}
    for position, item in enumerate(top):
        place = f"{where}[{position}]"
        key = _key(item, keys, place)
        below = merged.get(key, {}) if name in _MERGED else {}
        merged[key] = laid_over(below, item, place)
    return list(merged.values())


def _key(item: Any, keys: Sequence[str], where: str) -> tuple[Any, ...]:
    if not isinstance(item, Mapping):
        raise OverlayError(f"{where} must be an object")
    values = tuple(item.get(key, _DEFAULTS.get(key)) for key in keys)
    if any(value is None for value in values):
        raise OverlayError(f"{where} must have {' and '.join(keys)}")
    return values
