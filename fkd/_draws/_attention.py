"""Attention whose dropout is a hash: torch's functions draw in their own inside, out of reach.

Vaswani et al., "Attention is all you need" (2017), sections 3.2 and 5.4.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from fkd._draws._dropout import dropout
from fkd._draws._stream import Stream


def scaled_dot_product_attention(
    stream: Stream,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(query · keyᵀ · scale + mask), dropped, · value; torch's own where nothing is dropped.

    Written out, it holds all weights [..., length, source] in memory.
    """
    if dropout_p == 0:
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa
        )
    if is_causal:
        shape = (query.shape[-2], key.shape[-2])
        attn_mask = torch.ones(shape, dtype=torch.bool, device=query.device).tril()
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
        value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
    weights = _weights(query, key, _added(attn_mask, query.dtype, True), scale)
    return dropout(stream, weights, dropout_p) @ value


def multi_head_attention_forward(
    stream: Stream,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """query [length, batch, width], key and value [source, batch, ...]; or without the batch axis.

    A mask is true, or minus infinity, where a position is not to be seen: attn_mask [length,
    source] or [batch · heads, length, source], key_padding_mask [batch, source].
    """
    if not training or dropout_p == 0:
        return F.multi_head_attention_forward(
            query,
            key,
            value,
            embed_dim_to_check,
            num_heads,
            in_proj_weight,
            in_proj_bias,
            bias_k,
            bias_v,
            add_zero_attn,
            0.0,
            out_proj_weight,
            out_proj_bias,
            training=training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            use_separate_proj_weight=use_separate_proj_weight,
            q_proj_weight=q_proj_weight,
            k_proj_weight=k_proj_weight,
            v_proj_weight=v_proj_weight,
            static_k=static_k,
            static_v=static_v,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )
    if static_k is not None or static_v is not None:
        raise ValueError("attention with dropout: static_k and static_v are not known here")
    batched = query.ndim == 3
    if not batched:
        query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    length, batch, width = query.shape

    if use_separate_proj_weight:
        projections = q_proj_weight, k_proj_weight, v_proj_weight
    else:
        assert in_proj_weight is not None
        projections = in_proj_weight.chunk(3)
    if not use_separate_proj_weight and query is key and key is value:  # one product for three
        assert in_proj_weight is not None
        q, k, v = F.linear(query, in_proj_weight, in_proj_bias).chunk(3, -1)
    else:
        shifts = (None, None, None) if in_proj_bias is None else in_proj_bias.chunk(3)
        sides = zip((query, key, value), projections, shifts, strict=True)
        q, k, v = [F.linear(side, weight, shift) for side, weight, shift in sides]  # type: ignore[arg-type]

    extra = 0  # positions that no mask speaks of
    if bias_k is not None and bias_v is not None:
        k = torch.cat([k, bias_k.repeat(1, batch, 1)])
        v = torch.cat([v, bias_v.repeat(1, batch, 1)])
        extra += 1
    if add_zero_attn:
        k, v = F.pad(k, (0, 0, 0, 0, 0, 1)), F.pad(v, (0, 0, 0, 0, 0, 1))
        extra += 1

    mask = _added(attn_mask, query.dtype, False)
    if mask is not None:
        mask = mask.unflatten(0, (batch, num_heads)) if mask.ndim == 3 else mask
        mask = F.pad(mask, (0, extra))
    padding = _added(key_padding_mask, query.dtype, False)
    if padding is not None:
        padding = F.pad(padding, (0, extra))[:, None, None]
        mask = padding if mask is None else mask + padding

    # [batch, heads, length or source, width of a head]
    q, k, v = [x.unflatten(-1, (num_heads, -1)).permute(1, 2, 0, 3) for x in (q, k, v)]
    weights = dropout(stream, _weights(q, k, mask, None), dropout_p)
    outputs = (weights @ v).permute(2, 0, 1, 3).reshape(length, batch, width)
    outputs = F.linear(outputs, out_proj_weight, out_proj_bias)
    if average_attn_weights:
        weights = weights.mean(1)
    if not batched:
        outputs, weights = outputs.squeeze(1), weights.squeeze(0)
    return outputs, weights if need_weights else None


def _weights(query: Tensor, key: Tensor, mask: Tensor | None, scale: float | None) -> Tensor:
    """Attention weights; a position that sees nothing has zeros, as torch has it."""
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = (query * scale) @ key.transpose(-2, -1)
    if mask is None:
        return scores.softmax(-1)
    scores = scores + mask
    blind = (scores == -math.inf).all(-1, keepdim=True)
    # Filled before as well, for the softmax of a row of minus infinity has no gradient.
    return scores.masked_fill(blind, 0).softmax(-1).masked_fill(blind, 0)


def _added(mask: Tensor | None, dtype: torch.dtype, seen: bool) -> Tensor | None:
    """A mask to be added to scores, of one that is `seen` where a position takes part."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    hidden = ~mask if seen else mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill(hidden, -math.inf)
