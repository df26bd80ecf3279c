"""The study behind docs/what-the-data-say.md: a compiled trainer, its settings, and the curves it leaves."""
