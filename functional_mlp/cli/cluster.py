"""`--cluster`: the machines that train many networks, by Dask."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Annotated

from attrs import frozen
from cyclopts import Parameter

from functional_mlp.cli.training import TRAINING_GROUP
from functional_mlp.extras import installing
from functional_mlp.interrupts import no_interrupt, one_interrupt

# Of workers that are killed, and a scheduler that is lost, Dask would print tracebacks of its own.
SILENT = logging.CRITICAL


@Parameter(name="*", group=TRAINING_GROUP)
@frozen(kw_only=True)
class ClusterOptions:
    """Where many networks are trained."""

    cluster: Annotated[str | None, Parameter(metavar="ADDRESS")] = None
    """Train on the workers of this Dask scheduler, such as tcp://host:8786, or with `local` on those of a cluster that
    is started on this machine for the run. Default: in this process. Needs the extra `cluster`."""

    @contextmanager
    def executor(self) -> Iterator[Executor | None]:
        """The executor of the workers, None where training stays here; raises `OSError` where nobody answers."""
        with one_interrupt():
            yield from self._executor()

    def _executor(self) -> Iterator[Executor | None]:
        if self.cluster is None:
            yield None
            return
        try:
            import distributed
            from distributed.utils import silence_logging_cmgr
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(f"--cluster needs Dask: {installing('cluster')}", name=error.name) from error
        if self.cluster == "local":
            with no_interrupt():  # the workers start as deaf to Ctrl-C: this process ends them
                workers = distributed.LocalCluster(dashboard_address=":0", threads_per_worker=1, silence_logs=SILENT)
            with workers, distributed.Client(workers) as client:
                yield client.get_executor()
            return
        try:
            connected = distributed.Client(self.cluster)
        except ValueError as error:
            raise ValueError(f"--cluster: expected an address such as tcp://host:8786, or local: {error}") from error
        except OSError as error:
            raise OSError(f"--cluster: no scheduler answers: {error}") from error
        with silence_logging_cmgr(SILENT), connected as client:
            yield client.get_executor()
