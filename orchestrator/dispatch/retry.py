"""Delays between attempts: capped exponential backoff with full jitter.

Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: the delay is uniform between
zero and the capped exponential, which spreads retries best.
"""

from __future__ import annotations

import random
from typing import Final

#: Doublings after which any cap is long reached; a backend may crash for weeks.
_MOST_DOUBLINGS: Final = 64


def delay_s(failed_attempts: int, rng: random.Random, *, base_s: float, cap_s: float) -> float:
    """Seconds to wait after the failure number `failed_attempts` (from 1)."""
    return rng.uniform(0.0, min(cap_s, base_s * 2.0 ** min(failed_attempts - 1, _MOST_DOUBLINGS)))
