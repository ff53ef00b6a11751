"""What authors of adapters and stores test with; part of the product, not of its test suite.

* `orchestrator.testing.clock.ManualClock`: a clock that a test moves by hand.
* `orchestrator.testing.stores`: the conformance kit of stores. Subclass `StoreConformance` from
  `orchestrator.testing.stores.suite`, override its `store` fixture, and every promise of
  `orchestrator.storage.abc` is checked; each check is also a plain coroutine function (`CHECKS`).
* `orchestrator.testing.stores.machine`: a random walk of operations, held against a pure model.
* `orchestrator.testing.adapter_kit`: the conformance kit of adapters, see there; also ``pytest --adapter NAME``.
* `orchestrator.testing.channel_suite` and `channel_checks`: the conformance kit of notification channels.

The suites need pytest and the machine needs hypothesis; nothing else here does. Messages of failed checks
tell more when pytest rewrites them: call ``pytest.register_assert_rewrite("orchestrator.testing")`` in
``conftest.py``.
"""
