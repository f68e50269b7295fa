"""A synthetic painter: how any finished picture may have been drawn, from construction to details.

`paint` is all that the outside needs. `study` is what the painter sees in a picture, `field` and `hierarchy` are the
edges' direction and the areas inside areas; `construction`, `contours`, `thinning`, `pen` and `lines` draw,
`brushwork`, `passes` and `tones` paint, `styles` says in which order.
"""

from paintsundo.data.painter.painting import paint
from paintsundo.data.painter.styles import STYLES

__all__ = ["STYLES", "paint"]
