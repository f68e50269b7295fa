"""What a worker does for a run: keyframes, single keyframes, the film, as the command line would make them."""

from __future__ import annotations

from paintsundo.app.making_film import MakingFilm
from paintsundo.app.making_keyframes import MakingKeyframes


class Making(MakingKeyframes, MakingFilm):
    """The work on one run, by one worker.

    Args:
        device: where to compute; None: where the server's options say.
        seconds: after which the work is stopped.

    All methods raise `Stopped` where the run is cancelled, `TooLong` after `seconds`, and `UserError` for what the
    visitor can mend.
    """

    def work(self) -> None:
        """Do what the run's task says."""
        task = self.run.record.task
        if task is None:
            return
        self._check()
        if task.kind == "keyframes" or self._none_made():
            self._make_keyframes()
        self._make_single_keyframes()
        if task.kind == "film":
            self._make_film()
