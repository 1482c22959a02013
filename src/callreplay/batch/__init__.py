"""Room ``batch``: many captures to many files, on every core, surely.

A run is a list of jobs (one capture each), a destination and options. Jobs are cut into shares that fill the lanes of
the conveyor; worker processes take shares; every finished call is a row of the manifest. Whatever dies in mid-run, the
next run takes up where the manifest ends.
"""

from callreplay.batch.engine import BatchSettings, run_batch
from callreplay.batch.jobs import Job, find_jobs, read_manifest_jobs
from callreplay.batch.manifest import Row, read_rows
from callreplay.batch.many import transcode_many, transcode_many_async
from callreplay.batch.shards import Shards
from callreplay.batch.summary import BatchError, Summary

__all__ = [
    "BatchError",
    "BatchSettings",
    "Job",
    "Row",
    "Shards",
    "Summary",
    "find_jobs",
    "read_manifest_jobs",
    "read_rows",
    "run_batch",
    "transcode_many",
    "transcode_many_async",
]
