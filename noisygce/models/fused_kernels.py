# mypy: ignore-errors
# A kernel has no Python types.
"""The Triton kernels of noisygce.models.fused.

A row is a place of an image: an activation (B, C, H, W) in channels_last is a matrix (B H W, C). Rows are cut into
parts, each summed by one program, and the sums of the parts are added by every program that needs them: no atomics.
"""

import triton
import triton.language as tl

# Else each size that is 1 or a multiple of 16 would be compiled anew.
_SIZES = ["rows", "of_a_part", "n_parts", "of_a_program"]


@triton.jit(do_not_specialize=_SIZES)
def moments(x, parts, rows, channels, of_a_part, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    """Mean and sum of squared deviations of a part of the rows, tile by tile (Chan et al. 1983): no cancellation."""
    column = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    first = tl.program_id(1) * of_a_part
    end = tl.minimum(first + of_a_part, rows)
    mean = tl.zeros((CHANNELS,), tl.float32)
    squares = tl.zeros((CHANNELS,), tl.float32)
    for start in range(first, end, ROWS):
        row = start + tl.arange(0, ROWS)
        there = (row < end)[:, None] & (column < channels)[None, :]
        value = tl.load(x + row[:, None] * channels + column[None, :], there, other=0.0).to(tl.float32)
        before = (start - first).to(tl.float32)
        count = tl.minimum(end - start, ROWS).to(tl.float32)
        of_tile = tl.sum(value, 0) / count
        deviation = tl.where(there, value - of_tile[None, :], 0.0)
        step = of_tile - mean
        mean += step * (count / (before + count))
        squares += tl.sum(deviation * deviation, 0) + step * step * (before * count / (before + count))
    at = parts + tl.program_id(1) * channels + column
    tl.store(at, mean, column < channels)
    tl.store(at + tl.num_programs(1) * channels, squares, column < channels)


@triton.jit(do_not_specialize=_SIZES)
def normalise(
    x, residual, y, parts, mean_of, scale_of, weight, bias, running_mean, running_var, rows, channels, of_a_part,
    n_parts, of_a_program, eps, momentum, PARTS: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
    ADD: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """y = relu((x - mean) / sqrt(var + eps) * weight + bias + residual); the first programs keep the statistics."""
    column = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    is_channel = column < channels
    part = tl.arange(0, PARTS)
    is_part = (part < n_parts)[:, None] & is_channel[None, :]
    at = parts + part[:, None] * channels + column[None, :]
    means = tl.load(at, is_part, other=0.0)
    squares = tl.load(at + n_parts * channels, is_part, other=0.0)
    count = tl.maximum(tl.minimum(rows - part * of_a_part, of_a_part), 0).to(tl.float32)[:, None]
    mean = tl.sum(count * means, 0) / rows
    step = means - mean[None, :]
    total = tl.sum(squares + count * step * step, 0)
    scale = 1.0 / tl.sqrt(total / rows + eps)
    if tl.program_id(1) == 0:
        tl.store(mean_of + column, mean, is_channel)
        tl.store(scale_of + column, scale, is_channel)
        old = tl.load(running_mean + column, is_channel)
        tl.store(running_mean + column, momentum * mean + (1 - momentum) * old, is_channel)
        old = tl.load(running_var + column, is_channel)
        tl.store(running_var + column, momentum * (total / (rows - 1)) + (1 - momentum) * old, is_channel)
    factor = (scale * tl.load(weight + column, is_channel, other=0.0))[None, :]
    shift = tl.load(bias + column, is_channel, other=0.0)[None, :]
    first = tl.program_id(1) * of_a_program
    end = tl.minimum(first + of_a_program, rows)
    for start in range(first, end, ROWS):
        row = start + tl.arange(0, ROWS)
        there = (row < end)[:, None] & is_channel[None, :]
        place = row[:, None] * channels + column[None, :]
        value = (tl.load(x + place, there, other=0.0).to(tl.float32) - mean[None, :]) * factor + shift
        if ADD:
            value += tl.load(residual + place, there, other=0.0).to(tl.float32)
        if RELU:
            value = tl.where(value > 0, value, tl.where(value == value, 0.0, value))  # NaN stays
        tl.store(y + place, value.to(y.dtype.element_ty), there)


@triton.jit(do_not_specialize=_SIZES)
def gradient_sums(
    dy, x, y, mean_of, scale_of, parts, rows, channels, of_a_part, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
    RELU: tl.constexpr,
):  # fmt: skip
    """Sums over a part of the rows: of g, the gradient before the ReLU, and of g times the normalised x."""
    column = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    is_channel = column < channels
    mean = tl.load(mean_of + column, is_channel, other=0.0)[None, :]
    scale = tl.load(scale_of + column, is_channel, other=0.0)[None, :]
    first = tl.program_id(1) * of_a_part
    end = tl.minimum(first + of_a_part, rows)
    plain = tl.zeros((CHANNELS,), tl.float32)
    times_x = tl.zeros((CHANNELS,), tl.float32)
    for start in range(first, end, ROWS):
        row = start + tl.arange(0, ROWS)
        there = (row < end)[:, None] & is_channel[None, :]
        place = row[:, None] * channels + column[None, :]
        g = tl.load(dy + place, there, other=0.0).to(tl.float32)
        if RELU:
            g = tl.where(tl.load(y + place, there, other=0.0).to(tl.float32) > 0, g, 0.0)
        normal = (tl.load(x + place, there, other=0.0).to(tl.float32) - mean) * scale
        plain += tl.sum(g, 0)
        times_x += tl.sum(tl.where(there, g * normal, 0.0), 0)
    at = parts + tl.program_id(1) * channels + column
    tl.store(at, plain, is_channel)
    tl.store(at + tl.num_programs(1) * channels, times_x, is_channel)


@triton.jit(do_not_specialize=_SIZES)
def gradients(
    dy, x, y, mean_of, scale_of, weight, parts, dx, d_residual, d_weight, d_bias, rows, channels, n_parts, of_a_program,
    PARTS: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr, ADD: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """dx = weight / sqrt(var + eps) * (g - mean g - normalised x * mean (g * normalised x)); d_residual = g."""
    column = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    is_channel = column < channels
    part = tl.arange(0, PARTS)
    is_part = (part < n_parts)[:, None] & is_channel[None, :]
    at = parts + part[:, None] * channels + column[None, :]
    plain = tl.sum(tl.load(at, is_part, other=0.0), 0)
    times_x = tl.sum(tl.load(at + n_parts * channels, is_part, other=0.0), 0)
    if tl.program_id(1) == 0:
        tl.store(d_weight + column, times_x, is_channel)
        tl.store(d_bias + column, plain, is_channel)
    mean = tl.load(mean_of + column, is_channel, other=0.0)[None, :]
    scale = tl.load(scale_of + column, is_channel, other=0.0)[None, :]
    factor = scale * tl.load(weight + column, is_channel, other=0.0)[None, :]
    plain = (plain / rows)[None, :]
    times_x = (times_x / rows)[None, :]
    first = tl.program_id(1) * of_a_program
    end = tl.minimum(first + of_a_program, rows)
    for start in range(first, end, ROWS):
        row = start + tl.arange(0, ROWS)
        there = (row < end)[:, None] & is_channel[None, :]
        place = row[:, None] * channels + column[None, :]
        g = tl.load(dy + place, there, other=0.0).to(tl.float32)
        if RELU:
            g = tl.where(tl.load(y + place, there, other=0.0).to(tl.float32) > 0, g, 0.0)
            if ADD:
                tl.store(d_residual + place, g.to(d_residual.dtype.element_ty), there)
        normal = (tl.load(x + place, there, other=0.0).to(tl.float32) - mean) * scale
        tl.store(dx + place, (factor * (g - plain - normal * times_x)).to(dx.dtype.element_ty), there)
