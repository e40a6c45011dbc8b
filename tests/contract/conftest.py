"""Makes failing asserts of the contract suites show their values, as those of test files do."""

import pytest

pytest.register_assert_rewrite("taskbus.testing")
