"""Layered files (Photoshop, OpenRaster, Krita): reading them, showing them as their programs do, drawing them layer by
layer.
"""
