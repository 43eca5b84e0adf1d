"""Prints the milliseconds from imported libraries to the loss of the first epoch: `first_epoch.py PEER`.

The data are made before the clock starts; building the network, compiling and training come after.
"""

import sys
import time

from peers import Task, peer

chosen = peer(sys.argv[1])
chosen.import_modules()
task = Task(batch_size=1)
data, params = task.data, task.params

started = time.perf_counter()
chosen.trainer(task)(1)
print((time.perf_counter() - started) * 1e3)
