"""Characters in the order in which people write them. (Being written by GLYPHS, a helper of its own: not SVG any more.)"""
