"""python -m ultraslow."""

from ultraslow.cli import main

main()
