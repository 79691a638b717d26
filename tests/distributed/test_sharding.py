import pytest
import torch

from imgcls.datasets.labelled_images import Batch
from imgcls.distributed.launch import Launch
from imgcls.distributed.process_group import Processes
from imgcls.distributed.sharding import MIN_SHARD, Shard, check_can_be_sharded, shard_of, shard_order
from imgcls.errors import ConfigError


class Fellow(Processes):
    """One of several, for what asks nobody."""

    def __init__(self, rank: int, count: int) -> None:
        super().__init__(Launch(rank=rank, count=count, local_rank=rank, local_count=count))
        self.rank, self.count = rank, count


@pytest.mark.parametrize(
    ("num", "count", "sizes"),
    [
        (8, 2, [4, 4]),
        (9, 2, [5, 4]),
        (10, 4, [3, 3, 2, 2]),
        # Too few for two each: some take part for nothing.
        (5, 4, [3, 2, 0, 0]),
        (3, 4, [3, 0, 0, 0]),
        (2, 2, [2, 0]),
        (1, 2, [1, 0]),
    ],
)
def test_a_batch_is_shared_out_whole(num, count, sizes):
    batch_B = torch.randperm(num)
    shares = [shard_of(batch_B, Fellow(rank, count)) for rank in range(count)]
    assert [len(share) if share.counts else 0 for share in shares] == sizes
    taken = torch.cat([batch_B[share.start : share.end] for share in shares if share.counts])
    assert torch.equal(taken, batch_B)
    # Those that have nothing of their own repeat the first one's.
    assert all((share.start, share.end) == (0, sizes[0]) for share in shares if not share.counts)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("num", [16, 30, 33, 35, 64, 65, 71])
def test_the_order_of_an_epoch_is_handed_out_batch_by_batch(num, count):
    order_N = torch.randperm(num)
    for rank in range(count):
        fellow = Fellow(rank, count)
        own_N, size = shard_order(order_N, 16, fellow)
        expected = []
        for start in range(0, num, 16):
            share = shard_of(order_N[start : start + 16], fellow)
            expected.append(share.batch_B[share.start : share.end].tolist())
        # Split into equal portions, as a loader splits it, it falls into the shares.
        assert [part.tolist() for part in own_N.split(size)] == expected


def test_damaged_images_leave_the_places_of_the_others():
    share = Shard(torch.tensor([7, 3, 9, 1, 5, 8]), 2, 6)
    whole = Batch(torch.empty(4), torch.empty(4), torch.tensor([9, 1, 5, 8]))
    lacking = Batch(torch.empty(2), torch.empty(2), torch.tensor([9, 5]))
    assert share.places(whole.indices_B) == slice(2, 6)
    assert torch.equal(share.places(lacking.indices_B), torch.tensor([2, 4]))


def test_batches_too_small_to_be_shared_are_refused():
    check_can_be_sharded(1, Fellow(0, 1))
    check_can_be_sharded(2 * MIN_SHARD, Fellow(0, 2))
    with pytest.raises(
        ConfigError, match=r"train\.batch_size = 7 is the number of images in a step of all 2"
    ) as caught:
        check_can_be_sharded(7, Fellow(1, 2))
    assert "--batch-size 8" in caught.value.hint
