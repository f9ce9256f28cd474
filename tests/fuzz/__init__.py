"""Fuzzing of everything that reads bytes which others wrote.

`targets` says what is read and what must hold, `making` makes inputs, ``corpus/`` keeps small ones
that were once interesting: one folder for each target, one file for each input. The tests run all
of the corpus and a few hundred made inputs; ``python -m tests.fuzz`` goes on for as long as it is
told, with Atheris where that is installed.
"""
