"""The pure engine: from a pinned blueprint and facts to what happens next. No I/O, no clock."""
