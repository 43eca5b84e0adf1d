"""Prints the milliseconds from imported libraries to the loss of the first epoch: `first_epoch.py PEER`.

The data are made before the clock starts; building the network, compiling and training come after.
"""

import argparse
import time

from peers import Task, peer

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("peer", metavar="PEER", help="one of those that benchmarks/epochs.py lists, such as fused")
chosen = peer(parser.parse_args().peer)
chosen.import_modules()
task = Task(batch_size=1)
data, params = task.data, task.params

started = time.perf_counter()
chosen.trainer(task)(1)
print((time.perf_counter() - started) * 1e3)
