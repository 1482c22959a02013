"""A ten-hour call is put in order in bounded memory: the process's own high-water mark says so."""

import subprocess
import sys

import pytest

PROGRAM = """
import numpy as np
from callreplay.model import Flow, RtpColumns, Stream
from callreplay.order import assemble
from callreplay.packets.arena import Arena, release

class Scan: pass

half, block = 1_800_000, 100_000
arena, scan = Arena(), Scan()
kinds = dict(offset=np.int64, arrival_ns=np.int64, timestamp=np.uint32, stream=np.int32, sequence=np.uint16,
             size=np.uint16, payload_type=np.uint8, flags=np.uint8)
columns = {name: arena.empty(2 * half, kind) for name, kind in kinds.items()}
for start in range(0, 2 * half, block):
    row = np.arange(start, start + block)
    number, leg, part = row // 2, row % 2, slice(start, start + block)
    columns["offset"][part] = row * 160 % 100_000
    columns["arrival_ns"][part] = 1_700_000_000_000_000_000 + number * 20_000_000 + leg * 3_000_000
    columns["timestamp"][part] = number * 160
    columns["stream"][part] = leg
    columns["sequence"][part] = number & 0xFFFF
    columns["size"][part] = 160
    columns["payload_type"][part] = 0
    columns["flags"][part] = 0
scan.rtp = RtpColumns(**columns)
ends = ("10.0.0.1", 10000, "10.0.0.2", 20000), ("10.0.0.2", 20000, "10.0.0.1", 10000)
scan.streams = [Stream(side, Flow(*ends[side]), side, slice(side, 2 * half, 2), half) for side in (0, 1)]
scan.data, scan.spill = np.random.default_rng(1).integers(0, 256, 1 << 17, np.uint8), np.zeros(0, np.uint8)
release(*columns.values())
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # forget the high-water mark so far
call = assemble(scan)[0]
assert [len(leg.columns.offset) for leg in call.legs] == [half, half]
assert call.end_ns - call.start_ns == half * 20_000_000 + 3_000_000
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_ten_hour_call_stays_under_150_mib() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 150 * 1024
