"""One update of a network: forward, backward and the optimizer's step, as a configuration wants them made."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.configs.config import TrainConfig
from train.errors import ConfigError
from trajectory import Recorder
from trajectory.errors import first_line

# Updates with the same rate that are made one by one before the next is captured: what libraries allocate when they
# are first used, and the optimizer's momentum, are there by then.
_BEFORE_CAPTURE = 3

Step = Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]]


class Update:
    """Makes one update on images x (B, C, H, W), labels y (B,) and the samples' weights (B,), if any.

    Returns the mean loss, unweighted, and how many samples were misclassified, both on the device.

    network: what is called; it may wrap the model that `parameters` are of.
    Raises ConfigError if the network cannot be compiled here.
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
        """Forward, backward, and the optimizer's step."""
        if self.config.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            logits = self._logits(x)
            each = F.cross_entropy(logits, y, reduction="none")
        loss = each.mean()
        objective = loss if weights is None else (weights * each).mean()
        self.optimizer.zero_grad()
        objective.backward()
        if self.config.max_grad_norm is not None:
            clip(self._parameters, self.config.max_grad_norm)
        self.optimizer.step()
        return loss.detach(), (logits.argmax(1) != y).sum()

    def _logits(self, x: Tensor) -> Tensor:
        try:
            return self._network(x)
        except self._compile_errors as error:
            reason = first_line(error)
            raise ConfigError(f"the network cannot be compiled here ({reason}); leave compile out") from error


def clip(parameters: Sequence[Tensor], most: float) -> None:
    """`clip_grad_norm_`, the same bits, without its pass over gradients that are short enough on a CPU.

    It multiplies them by one all the same, since a look at their norm would make a GPU wait.
    """
    norm = nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
    if norm.device.type == "cpu" and most / (norm + 1e-6) >= 1:  # torch's own factor
        return
    nn.utils.clip_grads_with_norm_(parameters, most, norm)


class GraphedUpdate:
    """An update captured in a CUDA graph and replayed: one launch for all of its kernels.

    The graph holds the learning rate and the weight decay as they were captured. Where they have changed, some
    updates are made one by one and the next is captured anew; a warm-up, which changes the rate each time, is made
    one by one.
    """

    def __init__(self, update: Update, recorder: Recorder):
        self._update, self._recorder = update, recorder
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Tensor | None] = []
        self._settings: list[tuple[float, float]] = []
        self._made = 0  # with these settings

    def __call__(self, x: Tensor, y: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """As `Update`; the inputs' shapes must stay the same."""
        settings = [(group["lr"], group["weight_decay"]) for group in self._update.optimizer.param_groups]
        if settings != self._settings:
            self._settings, self._made, self._graph = settings, 0, None
        self._made += 1
        if self._made <= _BEFORE_CAPTURE:
            return self._aside(x, y, weights)
        if self._graph is None:
            self._capture(x, y, weights)
        for held, given in zip(self._inputs, (x, y, weights), strict=True):
            if held is not None and given is not None:
                held.copy_(given)
        assert self._graph is not None
        self._graph.replay()
        self._recorder.replayed()
        return self._loss.clone(), self._wrong.clone()

    def _aside(self, x: Tensor, y: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """An update on a stream of its own, as capturing asks of those before."""
        stream = torch.cuda.Stream(x.device)
        stream.wait_stream(torch.cuda.current_stream(x.device))
        with torch.cuda.stream(stream):
            made = self._update(x, y, weights)
        torch.cuda.current_stream(x.device).wait_stream(stream)
        return made

    def _capture(self, x: Tensor, y: Tensor, weights: Tensor | None) -> None:
        self._inputs = [None if given is None else given.clone() for given in (x, y, weights)]
        self._update.optimizer.zero_grad()  # the gradients are to lie in the graph's own memory
        graph = torch.cuda.CUDAGraph()
        # the recorder's threads go on with calls of their own to the device, which are none of the graph's
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._loss, self._wrong = self._update(*self._inputs)  # type: ignore[arg-type]
        self._graph = graph


def _compile_errors() -> tuple[type[Exception], ...]:
    from torch._dynamo.exc import TorchDynamoException

    return (TorchDynamoException,)
