"""Values of the hot path: dataclasses that only the type checker holds immutable.

A frozen dataclass sets each field through ``object.__setattr__``, which makes a node record four times as
expensive; a run makes one a node, and reads several.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar, dataclass_transform

T = TypeVar("T")

if TYPE_CHECKING:

    @dataclass_transform(frozen_default=True, field_specifiers=(field,))
    def value_class(cls: type[T]) -> type[T]:
        """A dataclass with slots whose fields are set once, when it is made."""
        ...

else:
    value_class = dataclass(slots=True)
