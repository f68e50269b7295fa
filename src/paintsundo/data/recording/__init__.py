"""Recordings of drawing, from a screen or a camera, turned into the states of the canvas.

`video` reads, `survey` looks over the whole recording at a low resolution, `canvas` finds the canvas, `views` follows
zoom, rotation and flips, `extraction` reads again and brings the canvas to its own frame, `timeline` removes what only
passes over it, `engine` puts them together.
"""
