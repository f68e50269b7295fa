"""Behaviours in which something is drawn that does not stay: parts put elsewhere first, and changed minds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from scipy import ndimage

from paintsundo.data import brush
from paintsundo.data.behaviours.colours import random_curves
from paintsundo.data.behaviours.parts import (
    LEAST_AREA,
    Matrix,
    described,
    displacement,
    drawn,
    pasted,
    pick_part,
    warped_order,
)
from paintsundo.data.moves import OPERATION, Mask, Move, altered, before, cut, instant, ranked
from paintsundo.data.timeline import changed

ERASING = 0.5  # work of erasing, in shares of the work of drawing the same: the eraser is broad
UNDOS = (2, 6)  # pressings of "undo" that remove a part, at least and at most
FULL = 0.6  # share of the canvas drawn from which on a region cannot be lifted from the paper
NEAR = 0.03  # canvas sides between lines that still belong to one region

Made = tuple[list[Move], dict[str, Any]] | None  # moves and what is recorded of them; None where it cannot be done


def transform(moves: list[Move], random: np.random.Generator, strength: float, event: int) -> Made:
    """A region of what is drawn (where the canvas is full, a part of one stage) is drawn displaced, then moved."""
    found, place = cut(moves, random.uniform(0.08, 0.25 + 0.35 * strength))
    if not 0 < place < len(found) or not all(map(drawn, found[:place])):
        return _transformed_part(moves, random, strength, event)
    paper = (found[place - 1].after == 255).all(axis=2)
    if not 0 < 1 - paper.mean() < FULL:
        return _transformed_part(moves, random, strength, event)
    region = _region(~paper, random)
    matrix = displacement(region & ~paper, random, strength)
    if matrix is None or region[~paper].sum() < LEAST_AREA * paper.size:
        return _transformed_part(moves, random, strength, event)
    displaced = [_displaced(move, region, matrix, event) for move in found[:place]]
    back = instant("transform", found[place - 1].after, OPERATION, event)
    return [*displaced, back, *found[place:]], {"of": "region", **described(matrix)}


def _region(ink: Mask, random: np.random.Generator) -> Mask:
    """Everything, or one group of neighbouring marks with the paper around it: (H, W)."""
    radius = max(1, round(NEAR * max(ink.shape)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    groups, count = ndimage.label(cv2.dilate(ink.astype(np.uint8), kernel))
    areas = np.bincount(groups[ink], minlength=count + 1)[1:]
    large = np.flatnonzero(areas >= LEAST_AREA * ink.size) + 1
    if len(large) < 2 or random.random() < 0.3:
        return np.ones(ink.shape, bool)
    return np.asarray(groups == random.choice(large))


def _displaced(move: Move, region: Mask, matrix: Matrix, event: int) -> Move:
    """A move with what it leaves in a region shown elsewhere; the region itself stays paper."""
    base = np.where(region[..., None], 255, move.after).astype(np.uint8)
    marks = region & (move.after != 255).any(axis=2)
    elsewhere = warped_order(np.where(region, move.order, np.nan).astype(np.float32), matrix)
    order = np.where(np.isnan(elsewhere), np.where(region, np.nan, move.order), elsewhere)
    return altered(move, event, after=pasted(base, move.after, marks, matrix), order=order.astype(np.float32))


def _transformed_part(moves: list[Move], random: np.random.Generator, strength: float, event: int) -> Made:
    part = pick_part(moves, random, strength)
    matrix = None if part is None else displacement(part.mask, random, strength)
    if part is None or matrix is None:
        return None
    move, start = part.moves[part.index], before(part.moves, part.index)
    tried = altered(
        move,
        event,
        after=pasted(start, move.after, part.mask, matrix),
        order=warped_order(move.order, matrix),
        added=True,
    )
    back = instant("transform", move.after, OPERATION, event)
    rest = part.moves[part.index + 1 :]
    return [*part.moves[: part.index], tried, back, *rest], {"of": move.name, **described(matrix)}


def second_thoughts(moves: list[Move], random: np.random.Generator, strength: float, event: int) -> Made:
    """A part is drawn (as it will be, elsewhere, or in other colours), removed (undone or erased) and drawn again."""
    part = pick_part(moves, random, strength)
    if part is None:
        return None
    move, start = part.moves[part.index], before(part.moves, part.index)
    how = str(random.choice(["same", "elsewhere", "colours"], p=[0.3, 0.5, 0.2]))
    tried = altered(move, event, added=True)
    if how == "elsewhere":
        matrix = displacement(part.mask, random, strength)
        if matrix is not None:
            picture = pasted(start, move.after, part.mask, matrix)
            tried = replace(tried, after=picture, order=warped_order(move.order, matrix))
    elif how == "colours":
        curves = random_curves(random, strength)
        other = np.where(part.mask[..., None], curves(move.after), move.after)
        tried = replace(tried, after=np.asarray(other, np.uint8))
    mask = changed(start, tried.after)
    if not mask.any():
        return None
    if random.random() < 0.5:
        presses = int(random.integers(*UNDOS, endpoint=True))
        when = np.where(np.isnan(tried.order), 0, 1 - tried.order)  # last drawn, first undone
        order = (np.ceil(ranked(when, mask) * presses) / presses).astype(np.float32)
        removal = Move("undo", start, order, presses * OPERATION, True, (event,))
    else:
        height, width = mask.shape
        order = ranked(brush.sweep(height, width, brush.BANDS[0] * height), mask)
        removal = Move("erase", start, order, ERASING * move.work, True, (event,))
    rest = part.moves[part.index :]
    record = {"of": move.name, "first_try": how, "removed_by": removal.name}
    return [*part.moves[: part.index], tried, removal, *rest], record
