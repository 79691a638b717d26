"""Images that are there more than once: in a class, under two classes, or in training and in what measures it."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from imgcls.datasets.checks.alignment import aligned_scores
from imgcls.datasets.checks.finding import Finding, Kind
from imgcls.datasets.checks.neighbours import near_by_features, near_by_hash
from imgcls.datasets.checks.scan import Scan

# Correlation of the aligned pixels from which two images count as copies; see `benchmarks/data_faults.py`.
NEAR_SCORE = 0.8
EXACT_SCORE = 1.0

Pairs = dict[tuple[int, int], float]


def exact_pairs(scan: Scan) -> Pairs:
    """Images with the same pixels: each with the first of its kind in every split."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for index, look in enumerate(scan.looks):
        groups[look.digest].append(index)
    pairs: Pairs = {}
    for members in groups.values():
        for position, index in enumerate(members[1:], 1):
            firsts = {scan.places[other].split: other for other in reversed(members[:position])}
            pairs |= {(other, index): EXACT_SCORE for other in firsts.values()}
    return pairs


def near_pairs(scan: Scan, exact: Pairs) -> Pairs:
    """Images that show the same thing without having the same pixels, and how well they fit.

    Args:
        scan: of the data set; without features, perceptual hashes alone find the candidates.
        exact: as `exact_pairs` gives them; later members of these groups are left out here.
    """
    repeated = {second for _first, second in exact}
    kept = [index for index in range(len(scan.looks)) if index not in repeated]
    if len(kept) < 2:
        return {}
    thumbnails = scan.thumbnails_NTTC[kept]
    candidates = near_by_hash(thumbnails)
    if scan.features_NF is not None:
        candidates |= near_by_features(scan.features_NF[kept])
    pairs = sorted(candidates)
    scores = aligned_scores(thumbnails, pairs).tolist()
    return {
        (kept[first], kept[second]): min(score, EXACT_SCORE)
        for (first, second), score in zip(pairs, scores, strict=True)
        if score >= NEAR_SCORE
    }


def copies(scan: Scan, exact: Pairs, near: Pairs) -> Iterator[Finding]:
    """A finding for each image that repeats an earlier one, with the one that it fits best in each split.

    Between splits that is `leakage`, under two classes `conflict` (beside it), else `duplicate` or `near_duplicate`.
    """
    for (first, second), score in sorted({**_best(scan, near), **exact}.items(), key=lambda pair: pair[0][::-1]):
        is_exact = (first, second) in exact
        one, other = scan.places[second], scan.places[first]
        what = "the same pixels as" if is_exact else "nearly the same image as"
        is_conflict = one.label != other.label
        kinds: list[tuple[Kind, str]] = []
        if one.split != other.split:
            kinds.append(("leakage", f"{what} one of {other.split}: what is measured on it says too much"))
        if is_conflict:
            kinds.append(("conflict", f"{what} one of class {scan.label_of(first)!r}"))
        if not kinds:
            kinds.append(("duplicate" if is_exact else "near_duplicate", f"{what} another one of {one.split}"))
        for kind, reason in kinds:
            yield Finding(
                kind,
                one.name,
                reason,
                score,
                other=other.name,
                label=scan.label_of(second),
                suggested_label=scan.label_of(first) if is_conflict else None,
                split=one.split,
                other_split=other.split,
                is_exact=is_exact,
            )


def _best(scan: Scan, near: Mapping[tuple[int, int], float]) -> Pairs:
    """Of the earlier images that one is like, the best of each split."""
    best: dict[tuple[int, str], tuple[float, int]] = {}
    for (first, second), score in near.items():
        key = (second, scan.places[first].split)
        best[key] = max(best.get(key, (0.0, 0)), (score, -first))
    return {(-place, second): score for (second, _split), (score, place) in best.items()}
