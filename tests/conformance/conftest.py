"""Asserts of the kits tell what they compared."""

import pytest

pytest.register_assert_rewrite("orchestrator.testing")
