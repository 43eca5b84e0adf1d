"""One rank of a group that makes all calls of `cases`, and writes what each comes to: started by torchrun."""

import datetime
import pickle
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch.distributed

import functional_mlp as fm
from functional_mlp import distributed
from tests.distributed import cases


def outcome(call: Callable[[], fm.FitResult]) -> Any:
    try:
        return call()
    except (ValueError, TypeError, RuntimeError, OSError, LookupError) as error:
        return type(error).__name__, str(error)


def main(folder: Path) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun ends all ranks when one has died
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", timeout=datetime.timedelta(seconds=60))
    rank, size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    alone = torch.distributed.new_group([0])
    outcomes = {name: outcome(lambda call=call: call(distributed.fit)) for name, call in cases.RESULTS.items()}
    outcomes["another group"] = outcome(lambda: cases.run(distributed.fit, group=alone))
    outcomes["no group"] = outcome(lambda: cases.run(distributed.fit, group="gloo"))
    for name, call in cases.CALLS.items():
        outcomes[name] = outcome(lambda call=call: call(distributed.fit, rank, size, folder))
        (folder / f"{rank}.pickle").write_bytes(pickle.dumps(outcomes))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
