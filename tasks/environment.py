"""Names of the environment variables by which one process of a run tells another something."""

DATA_REV = "THAWLINE_DATA_REV"  # the revision of the images as the user named it, where ``data.rev`` has its commit
NODE = "THAWLINE_NODE"  # the machine of a cluster that a process works on
