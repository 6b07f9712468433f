"""Faults of what is free: more of it than can be true, or than anybody counts."""

from typing import Final

from tests.mutations.planting import one

FREE: Final = (
    one(
        "limits are set for keys of others",
        "services/edge/api/admin/limits.py",
        "            await _expect_subject(authentication, account_id, wanted.subject)\n",
        "            pass\n",
        "tests/edge/test_admin_sales.py",
    ),
)
