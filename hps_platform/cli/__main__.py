"""`python -m hps_platform.cli`: the same as `hps`, for supervised processes."""

from hps_platform.cli import main

main()
