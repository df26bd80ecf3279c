"""Weights to record: a large network that trains, and ones that only hold tensors of given shapes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Transformer(nn.Module):
    """GPT-2's smallest shape: 12 blocks of width 768, 50,257 tokens, 1,024 positions; 124 M weights."""

    def __init__(self, width: int = 768, depth: int = 12, tokens: int = 50_257, positions: int = 1024):
        super().__init__()
        self.token, self.position = nn.Embedding(tokens, width), nn.Embedding(positions, width)
        block = nn.TransformerEncoderLayer(
            width, width // 64, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, depth, nn.LayerNorm(width), enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, position, token) of the next token; the output layer is the token embedding."""
        length = x.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length, device=x.device)
        hidden = self.blocks(self.token(x) + self.position.weight[:length], mask=mask, is_causal=True)
        return hidden @ self.token.weight.T


def layers(weights: int) -> list[tuple[int, int]]:
    """Eight matrices of about `weights` elements together."""
    return [(8, weights // 64)] * 8


def transformer_shapes() -> list[tuple[int, ...]]:
    """Those of the transformer's weights."""
    with torch.device("meta"):
        return [tuple(p.shape) for p in Transformer().parameters()]


class Weights(nn.Module):
    """Parameters of given shapes, and an optimizer that leaves them as they are: there are no gradients."""

    def __init__(self, shapes: Sequence[tuple[int, ...]], device: str):
        super().__init__()
        torch.manual_seed(0)
        self.list = nn.ParameterList([torch.randn(shape, device=device) for shape in shapes])
        self.optimizer = torch.optim.SGD(self.parameters(), lr=0.0)

    def flat(self) -> Tensor:
        """All of them in one vector, on their device."""
        return torch.cat([p.detach().flatten() for p in self.parameters()])
