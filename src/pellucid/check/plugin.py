"""A plugin of pytest: hold a bundle against a release policy in a test.

    def test_the_model_may_be_released(pellucid_bundle):
        pellucid_bundle.assert_meets("policies/release.toml")

    $ pytest --pellucid-bundle bundle.json --pellucid-key owner.pub

Found by pytest through the entry point ``pytest11``, so this file is imported in every test run on a machine with
Pellucid: it imports pytest and nothing of Pellucid before a test asks for the fixture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pellucid.check.results import CheckResult
    from pellucid.keys import VerifyKey

__all__ = ["BundleUnderTest", "assert_meets", "pellucid_bundle"]

_OPTIONS = {
    "pellucid-bundle": "the evidence bundle that the fixture pellucid_bundle gives",
    "pellucid-key": "the trusted owner's key (default: the owners that the policy trusts)",
    "pellucid-env": "the environment of the release policy",
}


@dataclass(frozen=True)
class BundleUnderTest:
    """A bundle file, and whom to trust.

    Attributes:
        path: The file.
        key: The owner's key file; None to trust the policy's owners.
        environment: The environment of the policy, or None.
    """

    path: Path
    key: Path | None = None
    environment: str | None = None

    def check(self, policy: Path | str, **options: Any) -> CheckResult:
        """:func:`pellucid.check.check` of the bundle, whatever the verdict.

        Raises:
            BadFile: The policy is invalid, or nobody is trusted.
        """
        from pellucid.check.api import check

        owners = [_owner(self.key)] if self.key else None
        return check(self.path, policy, **{"owners": owners, "environment": self.environment, **options})

    def assert_meets(self, policy: Path | str, **options: Any) -> CheckResult:
        """The same, and fail the test unless the verdict is a pass.

        Raises:
            AssertionError: It is not; the message is the whole check as text.
            BadFile: As :meth:`check`.
        """
        __tracebackhide__ = True
        result = self.check(policy, **options)
        if result.exit:
            from pellucid.check.text import render_text

            raise AssertionError(f"{self.path} does not meet {policy}\n{render_text(result)}")
        return result

    @property
    def values(self) -> Mapping[str, Mapping[str, Any]]:
        """Kind of evidence -> its values, of a bundle that verifies. Needs the key.

        Raises:
            Unverified: The bundle does not verify.
            BadFile: No owner was named.
        """
        from pellucid import bundle
        from pellucid.check.rules import variables

        return variables(bundle.verify(bundle.read(self.path), [_owner(self.key)] if self.key else []).evidence)


def assert_meets(
    bundle: Path | str, policy: Path | str, *, key: Path | str | None = None, **options: Any
) -> CheckResult:
    """:meth:`BundleUnderTest.assert_meets` of a bundle file, without the fixture.

    Raises:
        AssertionError: The verdict is no pass.
        BadFile: The policy is invalid, or nobody is trusted.
    """
    __tracebackhide__ = True
    return BundleUnderTest(Path(bundle), Path(key) if key else None).assert_meets(policy, **options)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The plugin's options, on the command line and in the ini file."""
    group = parser.getgroup("pellucid", "evidence of a model")
    for name, says in _OPTIONS.items():
        group.addoption(f"--{name}", metavar=name.rpartition("-")[2].upper(), default=None, help=says)
        parser.addini(name.replace("-", "_"), says, default=None)


@pytest.fixture(scope="session")
def pellucid_bundle(pytestconfig: pytest.Config) -> BundleUnderTest:
    """The bundle of ``--pellucid-bundle`` (ini: ``pellucid_bundle``), trusting ``--pellucid-key``."""
    bundle, key, environment = (_option(pytestconfig, name) for name in _OPTIONS)
    if bundle is None:
        pytest.fail("no bundle was named: pytest --pellucid-bundle bundle.json, or pellucid_bundle in the ini file")
    root = pytestconfig.invocation_params.dir
    return BundleUnderTest(root / bundle, root / key if key else None, environment)


def _option(config: pytest.Config, name: str) -> str | None:
    given = config.getoption(f"--{name}")
    return str(given) if given is not None else config.getini(name.replace("-", "_")) or None


def _owner(path: Path) -> VerifyKey:
    from pellucid.errors import BadFile
    from pellucid.keys import VerifyKey

    try:
        return VerifyKey.parse(path.read_text(encoding="ascii"), where=str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile("there is no such key file", where=str(path)) from error
