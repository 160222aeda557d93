"""A server of S3's protocol on the loopback interface."""

from collections.abc import Iterator
from contextlib import contextmanager

NOBODY = {"key": "none", "secret": "none"}  # the server asks for no credentials, the clients for some
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": NOBODY["key"],
    "AWS_SECRET_ACCESS_KEY": NOBODY["secret"],
    "AWS_DEFAULT_REGION": "us-east-1",
}


@contextmanager
def bucket(name: str) -> Iterator[dict[str, str]]:
    """Start a server with a bucket; yield what to set to use it."""
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    settings = CREDENTIALS | {"AWS_ENDPOINT_URL": f"http://{host}:{port}"}
    s3fs.S3FileSystem(**NOBODY, endpoint_url=settings["AWS_ENDPOINT_URL"]).mkdir(name)
    yield settings
    server.stop()
