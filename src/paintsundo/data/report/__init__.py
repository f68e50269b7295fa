"""Seeing a data set: numbers, contact sheets, films of processes, and one page with all of it."""
