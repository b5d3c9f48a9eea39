"""`python -m flowcraft_operator`."""

from __future__ import annotations

import sys

from flowcraft_operator.main import main

sys.exit(main())
