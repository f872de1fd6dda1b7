"""The BART family: BART and mBART. The feed-forward has no module of its own; it ends in the layer's `fc2`."""

from hyperformer_cli.backbones.family import Family
from hyperformer_cli.backbones.layouts import EncoderDecoderLayout
from hyperformer_cli.backbones.published import published

BART = Family(
    label="BART",
    layout=EncoderDecoderLayout(),
    stacks={"encoder": "model.encoder.layers", "decoder": "model.decoder.layers"},
    sublayers={"self_attention": "self_attn", "feed_forward": "fc2"},
    layer_norms=("layer_norm.weight", "layer_norm.bias", "layernorm_embedding.weight", "layernorm_embedding.bias"),
    depths={"encoder": "encoder_layers", "decoder": "decoder_layers"},
    width="d_model",
    feed_forward_width="{stack}_ffn_dim",
    heads="{stack}_attention_heads",
    identity=(
        "model_type", "vocab_size", "d_model", "max_position_embeddings", "encoder_layers", "decoder_layers",
        "encoder_ffn_dim", "decoder_ffn_dim", "encoder_attention_heads", "decoder_attention_heads",
        "activation_function", "scale_embedding",
    ),
    published=published,
)  # fmt: skip
