"""What a user is told of the memory that the Metal device keeps resident."""

import pytest

import nitinol as nt
from processes import succeed

pytestmark = pytest.mark.skipif(
    not any(device.hardware.startswith("Emulated") for device in nt.devices()),
    reason="Only the emulator plays several systems.",
)

PROGRAM = """
d = nt.Device("metal")
x = nt.ones(300_000, device=d) + 1
nt.eval(x)
stats = d.stats()
print(stats["residency"])
kept = stats["bytes_in_use"] + stats["bytes_cached"]
assert stats["bytes_resident"] == 0 or stats["bytes_resident"] >= kept >= 1_200_000
print(stats["bytes_resident"] > 0)
assert nt.Device("cpu").stats()["residency"] is None
assert nt.Device("cpu").stats()["bytes_resident"] == 0
import nitinol.__main__
nitinol.__main__.main()
"""


@pytest.mark.parametrize(
    ("seam", "sentence", "kept"),
    [
        ("", "Buffers are kept resident by a residency set.", True),
        (
            "no_residency_sets",
            "Buffers are not kept resident: this system has no residency sets.",
            False,
        ),
        (
            "fail_residency_set",
            "Buffers are not kept resident: no residency set could be made. "
            "No residency set (emulated).",
            False,
        ),
    ],
)
def test_the_device_says_whether_memory_is_kept_resident(seam, sentence, kept):
    lines = succeed(PROGRAM, METAL_EMULATOR=seam).splitlines()
    assert lines[:2] == [sentence, str(kept)]
    assert f"  {sentence}" in lines[2:]
