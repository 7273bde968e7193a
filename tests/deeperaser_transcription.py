"""DeepEraser as its fact sheet tells it, operation by operation: what ours is compared with in tests and benchmarks.

Nothing is hoisted or done in place; every iteration concatenates hidden state, context and features for each of the
six convolutions of the GRU.
"""
from __future__ import annotations

import torch
from torch import nn


def _scaled(channels, width):
    return channels if width == 1 else max(8, 8 * round(channels * width / 8))


class Block(nn.Module):
    def __init__(self, before, after):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.norm1, self.norm2, self.relu = nn.InstanceNorm2d(after), nn.InstanceNorm2d(after), nn.ReLU()
        self.downsample = (nn.Sequential(nn.Conv2d(before, after, 1), nn.InstanceNorm2d(after))
                           if before != after else None)

    def forward(self, x):
        y = self.relu(self.norm1(self.conv1(x)))
        y = self.relu(self.norm2(self.conv2(y)))
        if self.downsample is not None:
            x = self.downsample(x)
        return self.relu(x + y)


class Features(nn.Module):
    def __init__(self, widths, out):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(4, widths[0], 7, padding=3), nn.InstanceNorm2d(widths[0])
        self.relu = nn.ReLU()
        before = widths[0]
        for index, after in enumerate(widths, start=1):
            setattr(self, f"layer{index}", nn.Sequential(Block(before, after), Block(after, after)))
            before = after
        self.conv2 = nn.Conv2d(before, out, 1)

    def forward(self, x):
        x = self.relu(self.norm1(self.conv1(x)))
        for index in range(1, 7):
            x = getattr(self, f"layer{index}")(x)
        return self.conv2(x)


class Encoder(nn.Module):
    def __init__(self, middle, out):
        super().__init__()
        self.convf1, self.convf2 = nn.Conv2d(3, middle, 7, padding=3), nn.Conv2d(middle, out - 3, 3, padding=1)

    def forward(self, picture):
        return torch.cat([torch.relu(self.convf2(torch.relu(self.convf1(picture)))), picture], 1)


class GRU(nn.Module):
    def __init__(self, hidden, inputs):
        super().__init__()
        for index, (kernel, padding) in enumerate((((1, 5), (0, 2)), ((5, 1), (2, 0))), start=1):
            for gate in "zrq":
                setattr(self, f"conv{gate}{index}", nn.Conv2d(hidden + inputs, hidden, kernel, padding=padding))

    def forward(self, h, x):
        for index in (1, 2):
            z, r, q = (getattr(self, f"conv{gate}{index}") for gate in "zrq")
            hx = torch.cat([h, x], 1)
            update, reset = torch.sigmoid(z(hx)), torch.sigmoid(r(hx))
            new = torch.tanh(q(torch.cat([reset * h, x], 1)))
            h = (1 - update) * h + update * new
        return h


class Head(nn.Module):
    def __init__(self, hidden, middle):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(hidden, middle, 3, padding=1), nn.Conv2d(middle, 3, 3, padding=1)
        self.relu = nn.LeakyReLU(0.2)

    def forward(self, h):
        y = self.relu(self.conv1(h))
        return self.relu(self.conv2(y)), y


class Update(nn.Module):
    def __init__(self, hidden, middle):
        super().__init__()
        self.encoder, self.gru, self.pre_head = Encoder(middle, hidden), GRU(hidden, 2 * hidden), Head(hidden, middle)


class PlainDeepEraser(nn.Module):
    """``keep``: hold each iteration's hidden state and head features until the end. The fact sheet says that the
    original holds lists of features that it never uses and what they cost (753 MiB at 384 x 384), not which they are:
    these two, in seven iterations, come to 756 MiB."""

    def __init__(self, iterations=8, width=1.0, keep=False):
        super().__init__()
        hidden, middle = _scaled(64, width), _scaled(128, width)
        self.iterations, self.hidden, self.keep = iterations, hidden, keep
        self.fnet = Features([_scaled(c, width) for c in (16, 32, 32, 64, 64, 128)], 2 * hidden)
        self.update_block = Update(hidden, middle)

    def forward(self, x):
        picture = x[:, :3]
        h, context = torch.split(self.fnet(x), [self.hidden, self.hidden], 1)
        h, context = torch.tanh(h), torch.relu(context)
        reconstruction, reconstructions, kept = picture, [], []
        for _ in range(self.iterations):
            features = self.update_block.encoder(reconstruction)
            h = self.update_block.gru(h, torch.cat([context, features], 1))
            change, middle = self.update_block.pre_head(h)
            if self.keep:
                kept.append((h, middle))
            reconstruction = picture + change
            reconstructions.append(reconstruction)
        return reconstructions
