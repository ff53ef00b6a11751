"""Delays between attempts: capped exponential backoff with full jitter.

Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: the delay is uniform between
zero and the capped exponential, which spreads retries best.
"""

from __future__ import annotations

import random
from typing import Final

#: An attempt that failed in a retryable way is repeated until it has failed this often.
MAX_FAILED_ATTEMPTS: Final = 3


def delay_s(failed_attempts: int, rng: random.Random, *, base_s: float, cap_s: float) -> float:
    """Seconds to wait after the failure number `failed_attempts` (from 1)."""
    return rng.uniform(0.0, min(cap_s, base_s * 2.0 ** (failed_attempts - 1)))
