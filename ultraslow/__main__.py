"""python -m ultraslow."""

from ultraslow.cli.app import main

main()
