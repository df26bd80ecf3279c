"""One update of a network, as its configuration asks: forward, backward and the optimizer's step."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.configs.config import TrainConfig
from train.errors import ConfigError
from trajectory import Recorder
from trajectory.errors import first_line

# Updates with the same rate that are made one by one before the next is captured: by then the libraries have made
# their first allocations, and the optimizer has its momentum.
_BEFORE_CAPTURE = 3

Step = Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]]


class TrainStep:
    """Makes one update of a network.

    Args:
        config: the run's configuration.
        network: the model, or a wrapper of it.
        optimizer: the optimizer of the model's parameters.
    """

    def __init__(
        self,
        config: TrainConfig,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
    ):
        self.config, self.optimizer = config, optimizer
        self._network: Callable[[Tensor], Tensor] = torch.compile(network) if config.compile else network
        self._compile_errors = _compile_errors() if config.compile else ()
        self._parameters = list(network.parameters())

    def __call__(self, x: Tensor, y: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """Run forward, backward, and the optimizer's step.

        Args:
            x: images (B, C, H, W), normalized.
            y: labels (B,).
            weights: weights (B,) of the samples' losses, or None.

        Returns:
            The mean loss in nats, unweighted, and the number of misclassified samples, both on the device.

        Raises:
            ConfigError: if the network cannot be compiled here.
        """
        logits, each = self.forward(x, y)
        loss = each.mean()
        objective = loss if weights is None else (weights * each).mean()
        self.optimizer.zero_grad()
        objective.backward()
        if self.config.max_grad_norm is not None:
            clip(self._parameters, self.config.max_grad_norm)
        self.optimizer.step()
        return loss.detach(), (logits.argmax(1) != y).sum()

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Run the forward pass of an update.

        Args:
            x: images (B, C, H, W), normalized.
            y: labels (B,).

        Returns:
            The logits (B, class), and the loss of each sample in nats (B,).

        Raises:
            ConfigError: if the network cannot be compiled here.
        """
        if self.config.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            logits = self._logits(x)
            return logits, F.cross_entropy(logits, y, reduction="none")

    def _logits(self, x: Tensor) -> Tensor:
        try:
            return self._network(x)
        except self._compile_errors as error:
            reason = first_line(error)
            raise ConfigError(f"the network cannot be compiled here ({reason}); leave compile out") from error


def clip(parameters: Sequence[Tensor], most: float) -> None:
    """Clip gradients to a total norm, with the same bits as `torch.nn.utils.clip_grad_norm_`.

    On a CPU, gradients that are short enough are left alone; torch multiplies them by one, since a look at their norm
    would make a GPU wait.

    Args:
        parameters: the parameters, whose gradients are clipped in place.
        most: the largest total norm.
    """
    norm = nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
    if norm.device.type == "cpu" and most / (norm + 1e-6) >= 1:  # torch's own factor
        return
    nn.utils.clip_grads_with_norm_(parameters, most, norm)


class GraphedTrainStep:
    """An update captured in a CUDA graph and replayed: one launch for all of its kernels.

    The graph holds the learning rate and the weight decay that it was captured with. When they have changed, some
    updates are made one by one and the next is captured anew. A warm-up, which changes the rate each time, is made
    one by one.

    Args:
        step: the step to capture.
        recorder: the run's recorder, which must be capturable.
    """

    def __init__(self, step: TrainStep, recorder: Recorder):
        self._train_step, self._recorder = step, recorder
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Tensor | None] = []
        self._settings: list[tuple[float, float]] = []
        self._made = 0  # with these settings

    def __call__(self, x: Tensor, y: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """Make an update as `TrainStep` does. The shapes of the inputs must stay the same.

        Args:
            x: images (B, C, H, W), normalized.
            y: labels (B,).
            weights: weights (B,) of the samples' losses, or None.

        Returns:
            The mean loss in nats, unweighted, and the number of misclassified samples, both on the device.
        """
        settings = [(group["lr"], group["weight_decay"]) for group in self._train_step.optimizer.param_groups]
        if settings != self._settings:
            self._settings, self._made, self._graph = settings, 0, None
        self._made += 1
        if self._made <= _BEFORE_CAPTURE:
            return self._on_side_stream(x, y, weights)
        if self._graph is None:
            self._capture(x, y, weights)
        for held, given in zip(self._inputs, (x, y, weights), strict=True):
            if held is not None and given is not None:
                held.copy_(given)
        assert self._graph is not None
        self._graph.replay()
        self._recorder.replayed()
        return self._loss.clone(), self._wrong.clone()

    def _on_side_stream(self, x: Tensor, y: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """An update on a stream of its own, as capturing requires of the updates before it."""
        stream = torch.cuda.Stream(x.device)
        stream.wait_stream(torch.cuda.current_stream(x.device))
        with torch.cuda.stream(stream):
            made = self._train_step(x, y, weights)
        torch.cuda.current_stream(x.device).wait_stream(stream)
        return made

    def _capture(self, x: Tensor, y: Tensor, weights: Tensor | None) -> None:
        self._inputs = [None if given is None else given.clone() for given in (x, y, weights)]
        self._train_step.optimizer.zero_grad()  # the gradients are to lie in the graph's own memory
        graph = torch.cuda.CUDAGraph()
        # the recorder's threads make calls of their own to the device, which do not belong to the graph
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._loss, self._wrong = self._train_step(*self._inputs)  # type: ignore[arg-type]
        self._graph = graph


def _compile_errors() -> tuple[type[Exception], ...]:
    from torch._dynamo.exc import TorchDynamoException

    return (TorchDynamoException,)
