"""For comparisons with MXNet (<unit>_peers.py): `import mxnet_python` goes on in build/mxnet-peers.

MXNet 1.9.1 wants an older numpy than PyTorch does, so it has a folder of its own, which
./pneuma test --peers makes. A Python newer than 3.11 cannot hold it: the test is then skipped.
"""
import os
import sys

from repo import ROOT, SKIPPED

FOLDER = ROOT / "build/mxnet-peers"
if not (FOLDER / "installed.txt").exists():
    print("SKIPPED: MXNet 1.9.1 is not in build/mxnet-peers; ./pneuma test --peers installs it where "
          "python3 is 3.8 to 3.11")
    sys.exit(SKIPPED)
if not os.path.samefile(sys.prefix, FOLDER):
    os.execv(FOLDER / "bin/python3", [str(FOLDER / "bin/python3"), *sys.argv])
