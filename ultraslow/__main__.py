"""python -m ultraslow."""

from ultraslow import main

main()
