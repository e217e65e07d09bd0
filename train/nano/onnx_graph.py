"""A Qwen2 causal LM as one ONNX graph with a cache, written operator by operator: nothing is traced, so what is here is all there is.

    inputs   tokens [1, n] int64; past_key_i, past_value_i [1, kv heads, p, width] float32 for each layer i; p is 0 for a fresh prompt
    outputs  logits [1, 1, vocabulary] of the last token; key_i, value_i [1, kv heads, p + n, width]

The same graph reads a prompt (p = 0) and goes on from it (n = 1), so nothing is read twice. Operators are of ONNX's own opset 23.
"""

from __future__ import annotations

from typing import Any

from schema import BadRequestError
from train.nano.quantise import whole

OPSET, IR = 23, 11


def graph_of(model: Any, *, eight_bits: bool = False) -> Any:
    """Build the ONNX model of a `Qwen2ForCausalLM`; tied embeddings are held once.

    Args:
        model: with float weights and full attention in every layer.
        eight_bits: hold its matrices as whole numbers and scales (`train.nano.quantise`). They are multiplied out when the graph is loaded, so a rounded
            model says the same in both forms; DequantizeLinear would have onnxruntime round the activations too.

    Raises:
        BadRequestError: it is another architecture, or one of its settings that the graph does not know.
    """
    return _Graph(model, eight_bits).build()


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

        if hasattr(value, "detach"):
            value = (value.float() if value.is_floating_point() else value).detach().cpu().numpy()
        array = np.asarray(value)
        if not np.isfinite(array).all():
            raise BadRequestError(f"Expected finite weights, and {name} holds others; export an earlier checkpoint.")
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def matrix(self, name: str, weight: Any, *, turned: bool = False) -> str:
        """Add a matrix [outputs, inputs], or [inputs, outputs] if it is turned."""
        if not self.eight_bits:
            return self.constant(name, weight.T if turned else weight)
        numbers, scales = (part.T if turned else part for part in whole(weight))
        floats = self.op("Cast", self.constant(f"{name}.whole", numbers), to=1)
        return self.op("Mul", floats, self.constant(f"{name}.scales", scales), name=name)

    def linear(self, x: str, name: str, module: Any) -> str:
        y = self.op("MatMul", x, self.matrix(f"{name}.weight", module.weight, turned=True))
        return y if module.bias is None else self.op("Add", y, self.constant(f"{name}.bias", module.bias))

    def norm(self, x: str, name: str, module: Any) -> str:
        weight = self.constant(name, module.weight)
        return self.op("RMSNormalization", x, weight, epsilon=self.config.rms_norm_eps, axis=-1)

    # ------------------------------------------------------------ the model
    def build(self) -> Any:
        """Build and check the whole model."""
        from onnx import checker, helper

        self.places()
        embeddings = self.matrix("embeddings", self.core.embed_tokens.weight)
        x = self.op("Gather", embeddings, "tokens")
        for index, layer in enumerate(self.core.layers):
            x = self.layer(x, index, layer)
        last = self.op("Gather", x, self.constant("last", -1), axis=1)
        last = self.norm(last, "norm", self.core.norm)
        head = embeddings if self.tied else self.matrix("head", self.head.weight)
        self.op("MatMul", last, self.op("Transpose", head, perm=[1, 0]), name="logits")
        graph = helper.make_graph(self.nodes, "defender", self.inputs(), self.outputs(), self.weights)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR, producer_name="opensoc"
        )
        checker.check_model(model)
        return model

    def places(self) -> None:
        """Add each token's position: its `cos` and `sin`, and `seen`, the mask of what it may look at."""
        import numpy as np

        zero, one, axis = self.constant("zero", 0), self.constant("one", 1), self.constant("axis", [1])
        read = self.op("Squeeze", self.op("Shape", "past_key_0", start=2, end=3))
        total = self.op("Add", read, self.op("Squeeze", self.op("Shape", "tokens", start=1, end=2)))
        position = self.op("Unsqueeze", self.op("Range", read, total, one), axis)
        self.op("LessOrEqual", self.op("Range", zero, total, one), position, name="seen")
        turn = 1.0 / self.theta ** (np.arange(0, self.width, 2, dtype=np.float32) / np.float32(self.width))
        angle = self.op("Mul", self.op("Cast", position, to=1), self.constant("turn", turn.astype(np.float32)))
        angle = self.op("Unsqueeze", angle, self.constant("batch", [0]))
        self.op("Cos", angle, name="cos")
        self.op("Sin", angle, name="sin")

    def layer(self, x: str, index: int, layer: Any) -> str:
        """Add a layer: attention, then the feed-forward part."""
        part, own = f"layer{index}", layer.self_attn
        h = self.norm(x, f"{part}.before", layer.input_layernorm)
        query = self.linear(h, f"{part}.query", own.q_proj)
        key = self.linear(h, f"{part}.key", own.k_proj)
        value = self.linear(h, f"{part}.value", own.v_proj)
        query = self.op("RotaryEmbedding", query, "cos", "sin", num_heads=self.heads)
        key = self.op("RotaryEmbedding", key, "cos", "sin", num_heads=self.kv)
        context = self.op(
            "Attention",
            *(query, key, value, "seen", f"past_key_{index}", f"past_value_{index}"),
            outputs=(f"{part}.found", f"key_{index}", f"value_{index}"),
            q_num_heads=self.heads,
            kv_num_heads=self.kv,
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
            *self.cache("past_key", "past_value", "p"),
        ]

    def outputs(self) -> list[Any]:
        from onnx import TensorProto, helper

        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 1, self.config.vocab_size])
        return [logits, *self.cache("key", "value", "total")]

    def cache(self, key: str, value: str, length: str) -> list[Any]:
        from onnx import TensorProto, helper

        return [
            helper.make_tensor_value_info(f"{name}_{index}", TensorProto.FLOAT, [1, self.kv, length, self.width])
            for index in range(self.config.num_hidden_layers)
            for name in (key, value)
        ]
