"""Rankings of settings, as functions of arrays: which differ from each other, and how often each is the first."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from src.analysis.statistics.estimates import Scores

RESAMPLES = 500  # a share is known to 4 points
ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def letters(differ: npt.NDArray[np.bool_]) -> list[str]:
    """For each setting its letters: two share one exactly if they do not differ by `differ`, (settings, settings).

    Piepho, Journal of Computational and Graphical Statistics 13, 2004: a group that holds two which differ is split.
    """
    groups = [frozenset(range(len(differ)))]
    for first, second in zip(*np.nonzero(np.triu(differ)), strict=True):
        split = [group - {one} for group in groups if {first, second} <= group for one in (first, second)]
        kept = [group for group in groups if not {first, second} <= group] + split
        groups = [group for group in dict.fromkeys(kept) if not any(group < other for other in kept)]
    named = list(zip(ALPHABET, sorted(groups, key=sorted), strict=False))
    return ["".join(letter for letter, group in named if number in group) for number in range(len(differ))]


def share_first(samples: Sequence[Scores], resamples: int = RESAMPLES) -> list[float]:
    """The share of resamples in which each of `samples`, (seeds, images), has the highest mean.

    Images are drawn again for all at once, seeds for each, one fewer than there are: the mean of these varies as that
    of all seeds does.
    """
    rng = np.random.default_rng(0)
    images = samples[0].shape[1]
    image_weights = rng.multinomial(images, np.full(images, 1 / images), resamples) / images
    means = np.empty((len(samples), resamples))
    for number, sample in enumerate(samples):
        seeds = max(1, len(sample) - 1)
        seed_weights = rng.multinomial(seeds, np.full(len(sample), 1 / len(sample)), resamples) / seeds
        # without BLAS, whose threads cost more than they save here
        of_seeds = np.einsum("si,ri->rs", sample, image_weights)
        means[number] = (of_seeds * seed_weights).sum(axis=1)
    return list(np.bincount(means.argmax(axis=0), minlength=len(samples)) / resamples)
