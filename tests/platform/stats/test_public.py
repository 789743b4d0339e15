"""The public names are those listed, importing is light, and the examples in the docstrings hold."""

import doctest
import importlib
import pkgutil
import subprocess
import sys
from types import ModuleType

import pytest
import rayloop.platform.stats as stats

HEAVY = ("ray", "torch", "mlflow", "cupy", "pandas", "sklearn", "scipy")
MODULES = [module.name for module in pkgutil.iter_modules(stats.__path__)]


def test_public_names_are_the_listed_ones() -> None:
    found = {
        name for name, value in vars(stats).items() if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert found == set(stats.__all__)
    assert sorted(stats.__all__) == stats.__all__


def test_readme_of_the_package_names_every_file() -> None:
    assert stats.__doc__ is not None
    assert [name for name in MODULES if f"\n{name}.py " not in stats.__doc__] == []


def test_import_is_light() -> None:
    code = f"import sys, rayloop.platform.stats; print([name for name in {HEAVY!r} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize("name", MODULES)
def test_examples_hold(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"{stats.__name__}.{name}")).failed == 0


def test_there_are_examples() -> None:
    tested = [doctest.testmod(importlib.import_module(f"{stats.__name__}.{name}")).attempted for name in MODULES]
    assert sum(tested) >= 8
