"""What each phase of a run sets up anew: the weights that move, their optimisers, a frozen backbone's features."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from imgcls.datasets.labelled_images import LabelledImages, is_multi_label
from imgcls.distributed.data_parallel import wrap_ddp
from imgcls.distributed.process_group import Processes
from imgcls.images.transform import Transform
from imgcls.models.heads import HeadNetwork, backbone_parameters
from imgcls.recipes.schema import Recipe
from imgcls.runs.events import FeatureProgress, OnEvent, ShouldStop
from imgcls.training.batch_norm import batch_norms
from imgcls.training.compiling import CompiledNetwork, compiled_sizes
from imgcls.training.fine_tuning.features import CPU_BATCH_SIZE, KeptFeatures, keep_features
from imgcls.training.fine_tuning.phases import Phase, changing_settings, phase_at, phases_of
from imgcls.training.loss import balanced_weights, positive_weights
from imgcls.training.optimization.optimizer import Optimisers
from imgcls.training.precision import Precision
from imgcls.training.step import TrainingStep


class PhaseSetup:
    """A run's phases, one of which is set up.

    Args:
        network: on the device.
        images: the training images.
        recipe: resolved.
        transform: its arithmetic turns bytes into the network's input.
        device: where the network is.
        precision: of the arithmetic.
        processes: that train together.
    """

    def __init__(
        self,
        network: nn.Module,
        images: LabelledImages,
        recipe: Recipe,
        *,
        transform: Transform,
        device: torch.device,
        precision: Precision,
        processes: Processes,
    ) -> None:
        self.network, self.images, self.recipe, self.processes = network, images, recipe, processes
        self.transform, self.device, self.precision = transform, device, precision
        self.phases = phases_of(recipe)
        # Some never move, such as the whitening filters of our own network.
        self._backbone = [parameter for parameter in backbone_parameters(network) if parameter.requires_grad]
        self._too_many_features = False
        # Without it float16's small gradients would vanish.
        self.scaler = torch.amp.GradScaler(device.type) if precision.scaled else None
        self._weights_K = None
        self._is_multi_label = is_multi_label(images)
        if recipe.optim.class_weights == "balanced" and self._is_multi_label:
            self._weights_K = positive_weights(images.labels_N).to(device)
        elif recipe.optim.class_weights == "balanced":
            self._weights_K = balanced_weights(images.labels_N, len(images.classes)).to(device)
        self._backend: Callable[[Tensor], Tensor] = network
        if recipe.train.compile:
            sizes = compiled_sizes(recipe.train.batch_size, recipe.train.accumulate)
            self._backend = CompiledNetwork(network, sizes)
        self.enter(0)

    @property
    def phase(self) -> Phase:
        """The one that is set up."""
        return self.phases[self.number]

    @property
    def num_parameters(self) -> int:
        """Of the weights that move in some phase."""
        moved = {id(p): p.numel() for p in self.optimisers.parameters}
        if not all(phase.frozen for phase in self.phases):
            moved |= {id(p): p.numel() for p in self._backbone}
        return sum(moved.values())

    @property
    def keeps_statistics(self) -> bool:
        """Whether batch norms stay in eval mode in this phase."""
        return self.phase.frozen or self.recipe.finetune.freeze_batch_norm

    @property
    def source(self) -> LabelledImages:
        """Where batches come from: the images, or what a frozen backbone made of them."""
        return self.images if self.kept is None else self.kept

    def enter(self, number: int) -> None:
        """Set up a phase, with optimisers that know nothing yet."""
        self.number = number
        for parameter in self._backbone:
            parameter.requires_grad_(not self.phase.frozen)
        self.optimisers = Optimisers(
            self.network,
            self.recipe.optim,
            backbone_lr_factor=self.recipe.finetune.body_lr_factor,
            layer_decay=self.recipe.finetune.layer_decay,
        )
        self.kept: KeptFeatures | None = None
        self._step: TrainingStep | None = None

    @property
    def step(self) -> TrainingStep:
        """Moves the weights of the phase by a batch of what `source` gives."""
        if self._step is None:
            # Made when it is first called for: only now is it known what has to be distributed over the processes.
            forward = self._backend
            if self.kept is not None:
                forward = HeadNetwork(self.network)
            if self.processes.count > 1:
                assert isinstance(forward, nn.Module)
                forward = wrap_ddp(forward, self.device)
            self._step = TrainingStep(
                forward,
                self.optimisers,
                self.recipe,
                device=self.device,
                precision=self.precision,
                scaler=self.scaler,
                weights_K=self._weights_K,
                is_multi_label=self._is_multi_label,
            )
        return self._step

    def begin_epoch(self, epoch: int, on_event: OnEvent, should_stop: ShouldStop) -> str | None:
        """Make ready for an epoch; a reason to stop, if one came up while a frozen backbone was run on all images."""
        if (number := phase_at(self.phases, epoch)) != self.number:
            self.enter(number)
        self.network.train(not self.phase.frozen)
        if self.keeps_statistics:
            for layer in batch_norms(self.network):
                layer.eval()
        if not self.phase.frozen or self.kept is not None or self._too_many_features:
            return None
        if changing_settings(self.recipe):
            return None
        batch_size = self.recipe.train.eval_batch_size
        assert batch_size is not None
        kept = keep_features(
            self.network,
            self.images,
            transform=self.transform,
            device=self.device,
            batch_size=min(batch_size, CPU_BATCH_SIZE) if self.device.type == "cpu" else batch_size,
            precision=self.precision,
            flipped=self.recipe.augment.flip != "off",
            channels_last=self.recipe.train.channels_last,
            should_stop=should_stop,
            processes=self.processes,
            progress=lambda done, total: on_event(FeatureProgress(done, total)),
        )
        if isinstance(kept, str):
            return kept
        self._too_many_features = kept is None
        if kept is not None:
            self.kept, self._step = kept, None
        return None
