"""The pytest plugin of the conformance kits: ``pytest --adapter NAME`` tries an adapter without any test file.

``NAME`` is that of an installed plugin, or ``module:Class``. The report in plain words comes at the end of the run.
Without the option nothing is done, and nothing of the kit is imported.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from orchestrator.testing.adapter_kit import Bench, Course, Finding

#: Under which name a test's report carries its finding, also from a worker of pytest-xdist.
_PROPERTY: Final = "orchestrator_finding"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("orchestrator", "conformance of adapters (ion-orchestrator)")
    group.addoption(
        "--adapter",
        action="append",
        default=[],
        metavar="NAME_OR_MODULE:CLASS",
        help="try every promise of the adapter contract on this adapter; an installed plugin's name, or module:Class",
    )
    group.addoption(
        "--adapter-config",
        metavar="FILE",
        help="settings of the orchestrator (TOML), of which the adapters get their tables [plugins.<name>]",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Be there only where an adapter is named; without paths of the caller's own, only the adapters are tried."""
    if names := config.getoption("adapter"):
        for name in names:
            _bench(name, config)  # here, since processes of pytest-xdist tell nobody why they have nothing to run
        config.pluginmanager.register(_Kit(config), "orchestrator-adapter-kit")
        if config.args_source is not pytest.Config.ArgsSource.ARGS:
            config.args = []


class _Kit:
    """Brings the checks as test items, and the report."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._findings: dict[str, list[dict[str, Any]]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        for name in self._config.getoption("adapter"):
            items += _Adapter.from_parent(session, name=name, nodeid=name).collect()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for key, value in report.user_properties:
            if key == _PROPERTY and report.when == "call" and isinstance(value, dict):
                self._findings.setdefault(value["adapter"], []).append(value)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        from orchestrator.testing.adapter_kit.report import Finding, Report, Verdict  # noqa: PLC0415

        for adapter, values in self._findings.items():
            findings = [
                Finding(each["check"], each["promise"], Verdict(each["verdict"]), each["why"]) for each in values
            ]
            terminalreporter.section(f"promises of {adapter}")
            terminalreporter.write_line(Report(adapter, findings).render())


class _Adapter(pytest.Collector):
    """One adapter; its items are the checks."""

    def collect(self) -> list[pytest.Item]:
        from orchestrator.testing.adapter_kit import Course  # noqa: PLC0415
        from orchestrator.testing.adapter_kit.checks import CHECKS, name_of  # noqa: PLC0415

        bench, course = _bench(self.name, self.config), Course()
        return [
            _Promise.from_parent(self, name=name_of(check), check=check, bench=bench, course=course) for check in CHECKS
        ]


class _Promise(pytest.Item):
    """One promise of one adapter."""

    def __init__(self, *, check: Any, bench: Bench, course: Course, **options: Any) -> None:
        super().__init__(**options)
        self._check, self._bench, self._course = check, bench, course

    def runtest(self) -> None:
        finding = self._course.found(self._check, self._bench)
        self.user_properties.append((_PROPERTY, _carried(self.parent.name if self.parent else "", finding)))
        if finding.verdict == "skipped":
            pytest.skip(finding.why)
        if finding.verdict == "broken":
            raise _Broken(finding)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, _Broken):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return (
            Path(self.parent.name if self.parent else ""),
            None,
            f"{self.parent.name if self.parent else ''}: {self.name}",
        )


class _Broken(AssertionError):
    def __init__(self, finding: Finding) -> None:
        super().__init__(f"Not kept: {finding.promise}\n    {finding.why}")


def _carried(adapter: str, finding: Finding) -> dict[str, str]:
    """A finding as what pytest-xdist can send."""
    return {
        "adapter": adapter,
        "check": finding.check,
        "promise": finding.promise,
        "verdict": finding.verdict.value,
        "why": finding.why,
    }


def _bench(name: str, config: pytest.Config) -> Bench:
    """The bench of an adapter by its name; what is wrong with the name is a mistake of the command line."""
    from orchestrator.errors import AdapterUnavailable  # noqa: PLC0415
    from orchestrator.testing.adapter_kit import Bench  # noqa: PLC0415
    from orchestrator.testing.adapter_kit.finding import found_adapter, table_of  # noqa: PLC0415

    try:
        make = found_adapter(name, config.invocation_params.dir)
        settings = table_of(make, config.getoption("adapter_config"))
    except AdapterUnavailable as problem:
        raise pytest.UsageError(f"--adapter {name}: {problem.reason}") from problem
    except Exception as error:
        raise pytest.UsageError(f"--adapter {name}: {type(error).__name__}: {error}") from error
    return Bench(make, settings=settings)
