"""A server that speaks S3, found by obstore through the environment."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

BUCKET = "recordings"


@contextmanager
def object_store() -> Iterator[tuple[dict[str, str], Any]]:
    """The environment that leads to it, and the bucket BUCKET as the server keeps it."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    kept = s3_backends["123456789012"]["aws"]
    try:
        host, port = server.get_host_and_port()
        environment = {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }
        kept.create_bucket(BUCKET, "us-east-1")
        yield environment, kept.buckets[BUCKET]
    finally:
        server.stop()
        kept.reset()
