"""How hard a synthetic screen recording is: named levels, each a set of ranges from which a seed draws.

Every level keeps the ranges of `Level` except for what it is named after, so that a failure can be put down
to one thing; `everything` joins them all.
"""

from dataclasses import dataclass, replace

Range = tuple[float, float]
Count = tuple[int, int]  # both ends included


@dataclass(frozen=True)
class Level:
    """Ranges of one level. Lengths are seconds of film, sizes (width, height) in pixels."""

    seconds: Range = (10.0, 16.0)
    rates: tuple[int, ...] = (24, 25, 30)
    sizes: tuple[tuple[int, int], ...] = ((640, 360), (854, 480), (960, 540), (1280, 720), (800, 600))
    crf: Count = (18, 26)
    containers: tuple[str, ...] = ("mp4",)
    looks: tuple[str, ...] = ("studio", "simple", "windowed", "tablet")
    cursor: bool = False
    idle: float = 0.0  # chance of an idling cursor between chunks of drawing
    palettes: Count = (0, 0)  # floating over the canvas while drawing goes on
    dialogs: Count = (0, 0)  # drawing waits
    pauses: Count = (0, 0)
    undos: Count = (0, 0)
    zooms: Count = (0, 0)
    rotations: Count = (0, 0)
    flips: Count = (0, 0)
    intro: float = 0.0  # chance
    outro: float = 0.0
    cuts: Count = (0, 0)  # in the middle; drawing goes on unseen
    letterbox: float = 0.0
    irregular: bool = False  # timestamps
    sound: float = 0.0  # chance of a silent track, before the pictures
    facecam: float = 0.0  # chance of a streamer's moving face in a corner
    tilt: float = 0.0  # of a camera: 0 looks straight down, 1 is badly aligned


_CURSOR = Level(cursor=True, idle=0.3)

LEVELS: dict[str, Level] = {
    "plain": Level(),
    "cursor": _CURSOR,
    "palettes": replace(_CURSOR, palettes=(2, 5), dialogs=(1, 3)),
    "pauses": replace(_CURSOR, seconds=(14, 20), pauses=(4, 8)),
    "undo": replace(_CURSOR, undos=(3, 7)),
    "zoom": replace(_CURSOR, seconds=(14, 22), zooms=(3, 5)),
    "rotation": replace(_CURSOR, seconds=(14, 22), rotations=(2, 4)),
    "flip": replace(_CURSOR, seconds=(12, 18), flips=(2, 4)),
    "cuts": replace(_CURSOR, intro=0.8, outro=0.8, cuts=(1, 3)),
    "timelapse": replace(_CURSOR, seconds=(4, 6), rates=(24, 30)),
    "sixty": replace(_CURSOR, seconds=(25, 35), rates=(60,), sizes=((640, 360), (854, 480))),
    "shapes": replace(
        _CURSOR,
        letterbox=0.6,
        sizes=((360, 640), (640, 480), (720, 720), (1024, 640), (1280, 540), (540, 960), (1278, 718)),
    ),
    "containers": replace(_CURSOR, containers=("webm", "mkv", "mov"), irregular=True, sound=0.7),
    "stream": replace(_CURSOR, facecam=1.0),
    "camera": replace(_CURSOR, looks=("camera",)),
    "tilted": replace(_CURSOR, looks=("camera",), tilt=1.0),
    "crf35": replace(_CURSOR, crf=(33, 35)),
    "everything": Level(
        seconds=(20, 30),
        rates=(24, 30, 60),
        sizes=((640, 360), (854, 480), (1280, 720), (640, 480), (1278, 718)),
        crf=(18, 35),
        containers=("mp4", "webm", "mkv", "mov"),
        cursor=True,
        idle=0.3,
        palettes=(1, 3),
        dialogs=(1, 2),
        pauses=(1, 3),
        undos=(1, 3),
        zooms=(1, 3),
        rotations=(1, 2),
        flips=(1, 2),
        intro=0.5,
        outro=0.5,
        cuts=(0, 2),
        letterbox=0.3,
        irregular=True,
        sound=0.3,
        facecam=0.3,
    ),
}
