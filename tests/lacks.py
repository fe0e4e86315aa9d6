"""What becomes of tests of dtypes that a device does not have."""

import pytest


def skip_what_it_lacks(request, device):
    """Skip a test whose parameter ``dtype`` the device lacks."""
    call = getattr(request.node, "callspec", None)
    dtype = call.params.get("dtype") if call else None
    if isinstance(dtype, str) and not device.supports(dtype):
        pytest.skip(f"{device} has no {dtype}.")
