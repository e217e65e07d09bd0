"""A Qwen2 causal LM as one ONNX graph with a cache, written operator by operator: nothing is traced, so what is here is all there is.

    inputs   tokens [1, n] int64; total int32, the tokens read with these; past_key_i, past_value_i [1, kv heads, room, width] float32 for each layer i
    outputs  logits [1, 1, vocabulary] of the last token; key_i, value_i, shaped as the past

Bind each key_i and value_i to the very memory of its past: attention then writes the new tokens in their places, and nothing is copied. The same graph
reads a prompt, in parts, and goes on from it token by token. Operators are of ONNX's opset 23; `GroupQueryAttention` and `MatMulNBits` are onnxruntime's own
(its documentation, "Contrib Operators").
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from players.embedded import FINDS
from schema import BadRequestError

OPSET, IR = 23, 11
OWN = "com.microsoft"  # onnxruntime's operators
BLOCK, LEAST_BLOCK = 64, 16  # weights that share a scale: at most, and what MatMulNBits asks at least
NOTICING = "noticing."  # begins the names of what `with_noticing` adds
TOP = 127  # the largest whole number; -128 has no counterpart
MIDDLE = 128  # stands for zero in an unsigned byte
IN_EIGHT_BITS = 4  # of MatMulNBits' accuracy levels: products of bytes


def graph_of(model: Any, *, eight_bits: bool = False) -> Any:
    """Build the ONNX model of a `Qwen2ForCausalLM`; tied embeddings are held once.

    Args:
        model: with float weights and full attention in every layer.
        eight_bits: hold its matrices as bytes with a scale for each block of a row, and multiply in bytes.

    Raises:
        BadRequestError: it is another architecture, or one of its settings that the graph does not know.
    """
    return _Graph(model, eight_bits).build()


class Noticing(NamedTuple):
    """Layers that say of a token that names a rule whether that finds something in its line.

    `rules` has a vector for the token of each rule, float array [numbers]; another token has zeros. `layers` are matrices [outputs, inputs] and biases [outputs]: the
    first takes a token's last state, then the vector; between two of them what is below 0 is cut off; the last has one output, a logit.
    """

    rules: Mapping[int, Any]
    layers: Sequence[tuple[Any, Any]]


def with_noticing(graph: bytes, noticing: Noticing) -> bytes:
    """Return a graph with one output more, `finds` [1, n] float32: the logit of `Noticing` for each token; of one that names no rule it says nothing.

    Args:
        graph: content of a model.onnx that `graph_of` built; what it noticed before is replaced.
        noticing: the layers.
    """
    import numpy as np
    import onnx
    from onnx import TensorProto, checker, helper, numpy_helper

    model = onnx.load_model_from_string(graph)
    own = model.graph
    _drop_noticing(own)
    last = next(node for node in own.node if list(node.input[1:]) == ["last"])
    norm = next(node for node in own.node if node.input[0] == last.output[0])
    rule_of = np.zeros(_tokens_of(own), dtype=np.int64)
    rule_of[list(noticing.rules)] = np.arange(1, 1 + len(noticing.rules))
    vectors = np.stack(list(noticing.rules.values()))

    def weight(name: str, value: Any) -> str:
        own.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), f"{NOTICING}{name}"))
        return f"{NOTICING}{name}"

    def op(kind: str, *inputs: str, name: str = "", **settings: Any) -> str:
        output = name or f"{NOTICING}{len(own.node)}"
        own.node.append(helper.make_node(kind, inputs, [output], name=f"{NOTICING}node_{len(own.node)}", **settings))
        return output

    settings = {setting.name: helper.get_attribute_value(setting) for setting in norm.attribute}
    state = op("RMSNormalization", last.input[0], "norm", **settings)
    rule = op("Gather", weight("rule_of", rule_of), "tokens")
    vector = op("Gather", weight("rules", np.concatenate([np.zeros_like(vectors[:1]), vectors])), rule)
    x = op("Concat", state, vector, axis=-1)
    for number, (matrix, bias) in enumerate(noticing.layers):
        x = op("Relu", x) if number else x
        x = op("Add", op("MatMul", x, weight(f"{number}.weight", matrix.T)), weight(f"{number}.bias", bias))
    op("Squeeze", x, weight("width", np.array([2], dtype=np.int64)), name=FINDS)
    own.output.append(helper.make_tensor_value_info(FINDS, TensorProto.FLOAT, [1, "n"]))
    checker.check_model(model)
    return bytes(model.SerializeToString())


def _tokens_of(graph: Any) -> int:
    """Return the size of a graph's vocabulary."""
    logits = next(output for output in graph.output if output.name == "logits")
    return int(logits.type.tensor_type.shape.dim[-1].dim_value)


def without_noticing(graph: bytes) -> bytes:
    """Return a graph without what `with_noticing` added."""
    import onnx

    model = onnx.load_model_from_string(graph)
    _drop_noticing(model.graph)
    return bytes(model.SerializeToString(deterministic=True))


def _drop_noticing(graph: Any) -> None:
    """Take off a graph what `with_noticing` added."""
    for things, kept in (
        (graph.node, [node for node in graph.node if not node.name.startswith(NOTICING)]),
        (graph.initializer, [weight for weight in graph.initializer if not weight.name.startswith(NOTICING)]),
        (graph.output, [output for output in graph.output if output.name != FINDS]),
    ):
        del things[:]
        things.extend(kept)


def whole(matrix: Any) -> tuple[Any, Any]:
    """Round a matrix to whole numbers from -127 to 127 times a scale for each block of a row: symmetric, the largest of a block is kept.

    Args:
        matrix: float array [outputs, inputs].

    Returns:
        uint8 array [outputs, blocks, block] around `MIDDLE` and float32 array [outputs, blocks]. A block has the greatest common divisor of `BLOCK` and the inputs.

    Raises:
        BadRequestError: the inputs cannot be cut into blocks of `LEAST_BLOCK` or more.
    """
    import numpy as np

    outputs, inputs = matrix.shape
    if (block := math.gcd(inputs, BLOCK)) < LEAST_BLOCK:
        raise BadRequestError(
            f"Expected matrices with a multiple of {LEAST_BLOCK} inputs for 8 bits, and one has {inputs}; take --int8 no, or a preset of another width."
        )
    blocks = matrix.reshape(outputs, -1, block)
    scales = np.maximum(np.abs(blocks).max(axis=2), np.finfo(np.float32).tiny) / TOP
    return (np.rint(blocks / scales[..., None]) + MIDDLE).astype(np.uint8), scales.astype(np.float32)


def real(numbers: Any, scales: Any) -> Any:
    """Return the float32 matrix [outputs, inputs] that the whole numbers and scales of `whole` stand for."""
    import numpy as np

    blocks = (numbers.astype(np.float32) - MIDDLE) * scales[..., None]
    return blocks.reshape(len(numbers), -1)


class _Graph:
    """Nodes and weights as they are added."""

    def __init__(self, model: Any, eight_bits: bool) -> None:
        self.config = config = model.config
        rope = dict(getattr(config, "rope_parameters", None) or {})
        known = {
            "model_type": config.model_type == "qwen2",
            "hidden_act": config.hidden_act == "silu",
            "rope_type": rope.get("rope_type", "default") == "default",
            "layer_types": set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"},
        }
        if not all(known.values()):
            name = next(name for name, fits in known.items() if not fits)
            raise BadRequestError(
                "Expected a Qwen2 model with silu, plain rotary places and full attention, as train.nano.model makes it; "
                f"its {name} is {rope if name == 'rope_type' else getattr(config, name)!r}."
            )
        self.core, self.head, self.eight_bits = model.model, model.lm_head, eight_bits
        self.tied = model.lm_head.weight is model.model.embed_tokens.weight
        self.heads, self.kv = config.num_attention_heads, config.num_key_value_heads
        self.width = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.theta = rope.get("rope_theta", 10000.0)
        self.context = config.max_position_embeddings
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    # ------------------------------------------------------------ pieces
    def op(self, kind: str, *inputs: str, name: str = "", outputs: tuple[str, ...] = (), **attributes: Any) -> str:
        """Add a node, and return its first output's name."""
        from onnx import helper

        names = list(outputs or (name or f"{kind}_{len(self.nodes)}",))
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=f"node_{len(self.nodes)}", **attributes))
        return names[0]

    def constant(self, name: str, value: Any) -> str:
        """Add a weight, from a tensor, array or list."""
        import numpy as np
        from onnx import numpy_helper

        array = np.asarray(_array(value))
        if not np.isfinite(array).all():
            raise BadRequestError(f"Expected finite weights, and {name} holds others; export an earlier checkpoint.")
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def bytes_of(self, name: str, weight: Any) -> tuple[str, str]:
        """Add a matrix in 8 bits: whole numbers and scales."""
        numbers, scales = whole(_array(weight))
        return self.constant(f"{name}.whole", numbers), self.constant(f"{name}.scales", scales)

    def product(self, x: str, matrix: tuple[str, ...], weight: Any, *, bias: str = "", name: str = "") -> str:
        """Multiply by a matrix of `bytes_of` that was made of a weight [outputs, inputs]."""
        outputs, inputs = weight.shape
        given = [x, *matrix, *(("", "", bias) if bias else ())]
        size = {"K": inputs, "N": outputs, "bits": 8, "block_size": math.gcd(inputs, BLOCK)}
        return self.op("MatMulNBits", *given, name=name, domain=OWN, accuracy_level=IN_EIGHT_BITS, **size)

    def linear(self, x: str, name: str, module: Any) -> str:
        bias = "" if module.bias is None else self.constant(f"{name}.bias", module.bias)
        if self.eight_bits:
            return self.product(x, self.bytes_of(name, module.weight), module.weight, bias=bias)
        y = self.op("MatMul", x, self.constant(f"{name}.weight", module.weight.T))
        return self.op("Add", y, bias) if bias else y

    def norm(self, x: str, name: str, module: Any) -> str:
        weight = self.constant(name, module.weight)
        return self.op("RMSNormalization", x, weight, epsilon=self.config.rms_norm_eps, axis=-1)

    # ------------------------------------------------------------ the model
    def build(self) -> Any:
        """Build and check the whole model."""
        from onnx import checker, helper

        self.places()
        x, table = self.embedded()
        for index, layer in enumerate(self.core.layers):
            x = self.layer(x, index, layer)
        last = self.op("Gather", x, self.constant("last", -1), axis=1)
        self.scores(self.norm(last, "norm", self.core.norm), table)
        graph = helper.make_graph(self.nodes, "defender", self.inputs(), self.outputs(), self.weights)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(OWN, 1)],
            ir_version=IR,
            producer_name="opensoc",
        )
        checker.check_model(model)
        return model

    def places(self) -> None:
        """Add `read`, the last token's place, and `cos` and `sin` of every place, which onnxruntime computes once, when it loads the graph."""
        import numpy as np

        last = self.op("Reshape", "total", self.constant("list", [-1]))
        self.op("Sub", last, self.constant("one", np.int32(1)), name="read")
        place = self.constant("place", np.arange(self.context, dtype=np.float32)[:, None])
        turn = 1.0 / self.theta ** (np.arange(0, self.width, 2, dtype=np.float32) / np.float32(self.width))
        angle = self.op("Mul", place, self.constant("turn", turn.astype(np.float32)))
        self.op("Cos", angle, name="cos")
        self.op("Sin", angle, name="sin")

    def embedded(self) -> tuple[str, tuple[str, ...]]:
        """Add the tokens' embeddings, and return them and the table that they were taken from."""
        import numpy as np

        weight = self.core.embed_tokens.weight
        if not self.eight_bits:
            table = self.constant("embeddings", weight)
            return self.op("Gather", table, "tokens"), (table,)
        numbers, scales = self.bytes_of("embeddings", weight)
        found = self.op("Cast", self.op("Gather", numbers, "tokens"), to=1)
        found = self.op("Sub", found, self.constant("middle", np.float32(MIDDLE)))
        scale = self.op("Unsqueeze", self.op("Gather", scales, "tokens"), self.constant("of_each", [-1]))
        shape = self.constant("shape", [1, -1, weight.shape[1]])
        return self.op("Reshape", self.op("Mul", found, scale), shape), (numbers, scales)

    def scores(self, x: str, table: tuple[str, ...]) -> None:
        """Add the logits, by the embeddings' own table where they are tied."""
        if not self.tied:
            weight = self.head.weight
            table = self.bytes_of("head", weight) if self.eight_bits else (self.constant("head", weight),)
        if self.eight_bits:
            self.product(x, table, self.head.weight, name="logits")
        else:
            self.op("MatMul", x, self.op("Transpose", *table, perm=[1, 0]), name="logits")

    def layer(self, x: str, index: int, layer: Any) -> str:
        """Add a layer: attention, then the feed-forward part."""
        part, own = f"layer{index}", layer.self_attn
        h = self.norm(x, f"{part}.before", layer.input_layernorm)
        query = self.linear(h, f"{part}.query", own.q_proj)
        key = self.linear(h, f"{part}.key", own.k_proj)
        value = self.linear(h, f"{part}.value", own.v_proj)
        context = self.op(
            "GroupQueryAttention",
            *(query, key, value, f"past_key_{index}", f"past_value_{index}", "read", "total", "cos", "sin"),
            outputs=(f"{part}.found", f"key_{index}", f"value_{index}"),
            domain=OWN,
            num_heads=self.heads,
            kv_num_heads=self.kv,
            do_rotary=1,
            scale=self.width**-0.5,
        )
        x = self.op("Add", x, self.linear(context, f"{part}.out", own.o_proj))
        h = self.norm(x, f"{part}.after", layer.post_attention_layernorm)
        gate = self.linear(h, f"{part}.gate", layer.mlp.gate_proj)
        inner = self.op(
            "Mul", self.op("Mul", gate, self.op("Sigmoid", gate)), self.linear(h, f"{part}.up", layer.mlp.up_proj)
        )
        return self.op("Add", x, self.linear(inner, f"{part}.down", layer.mlp.down_proj))

    # ------------------------------------------------------------ what goes in and comes out
    def inputs(self) -> list[Any]:
        from onnx import TensorProto, helper

        return [
            helper.make_tensor_value_info("tokens", TensorProto.INT64, [1, "n"]),
            helper.make_tensor_value_info("total", TensorProto.INT32, []),
            *self.cache("past_key", "past_value"),
        ]

    def outputs(self) -> list[Any]:
        from onnx import TensorProto, helper

        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 1, self.config.vocab_size])
        return [logits, *self.cache("key", "value")]

    def cache(self, key: str, value: str) -> list[Any]:
        from onnx import TensorProto, helper

        return [
            helper.make_tensor_value_info(f"{name}_{index}", TensorProto.FLOAT, [1, self.kv, "room", self.width])
            for index in range(self.config.num_hidden_layers)
            for name in (key, value)
        ]


def _array(value: Any) -> Any:
    """Return a tensor as an array, and anything else as it is."""
    return value.float().detach().cpu().numpy() if hasattr(value, "detach") else value
