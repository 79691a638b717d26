"""The class table against torchvision's."""

import re

import torchvision.models

from imgcls.models.imagenet import imagenet_classes


def test_names_are_torchvisions():
    categories = torchvision.models.AlexNet_Weights.DEFAULT.meta["categories"]
    assert list(imagenet_classes().names) == categories
    assert len(set(categories)) == 1000


def test_wordnet_ids():
    ids = imagenet_classes().wordnet_ids
    assert len(ids) == len(set(ids)) == 1000
    assert list(ids) == sorted(ids)
    assert all(re.fullmatch(r"n\d{8}", one) for one in ids)


def test_some_by_hand():
    classes = imagenet_classes()
    pairs = dict(zip(classes.wordnet_ids, classes.names, strict=True))
    assert pairs["n01440764"] == "tench"
    assert pairs["n07920052"] == "espresso"
    assert (pairs["n02012849"], pairs["n03126707"]) == ("crane bird", "crane")
