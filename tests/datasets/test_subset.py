import torch

from imgcls.datasets.labelled_images import Batch, DataDescription
from imgcls.datasets.subset import SomeImages

CPU = torch.device("cpu")


class Numbered:
    """Image i is a pixel of value i; number 5 can't be read."""

    classes = ("even", "odd")
    labels_N = torch.arange(10) % 2
    description = DataDescription("numbers", "train", "0")
    skipped = ()

    def __len__(self):
        return 10

    def batches(self, order, *, batch_size, device):
        for chunk in order.split(batch_size):
            known = chunk[chunk != 5]
            yield Batch(known.to(torch.uint8).view(-1, 1, 1, 1), self.labels_N[known], known)


def test_a_part_is_like_a_whole():
    some = SomeImages(Numbered(), torch.tensor([9, 5, 2, 4]))
    assert len(some) == 4
    assert some.labels_N.tolist() == [1, 1, 0, 0]
    assert (some.classes, some.description.split, some.skipped) == (("even", "odd"), "train", ())
    batches = list(some.batches(torch.tensor([3, 1, 0, 2]), batch_size=3, device=CPU))
    assert [batch.images_BCHW.flatten().tolist() for batch in batches] == [[4, 9], [2]]
    assert [batch.labels_B.tolist() for batch in batches] == [[0, 1], [0]]
    # Which of these four they are.
    assert [batch.indices_B.tolist() for batch in batches] == [[3, 0], [2]]
