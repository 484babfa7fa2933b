import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from aerodet.detectnet.device import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()
for step in range(8):
    if step == 4:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    made = [torch.ones(mib << 18) for mib in (64, 32, 32, 16, 16, 16, 8, 8, 4, 4)]
    del made
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_memory_that_is_kept_is_not_asked_of_the_system_again():
    asked, kept = (
        int(subprocess.run([sys.executable, "-c", FAULTS, way], capture_output=True, text=True, check=True).stdout)
        for way in ("return", "keep")
    )

    if asked < 1000:
        pytest.skip("the system hands out pages so large that there is little to ask for")
    assert kept < asked / 10
