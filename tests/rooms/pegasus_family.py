"""A toy backbone family, in one file: Pegasus."""

from hyperformer_cli.backbones.family import Family
from hyperformer_cli.backbones.layouts import EncoderDecoderLayout

PEGASUS = Family(
    label="Pegasus",
    layout=EncoderDecoderLayout(),
    stacks={"encoder": "model.encoder.layers", "decoder": "model.decoder.layers"},
    sublayers={"self_attention": "self_attn", "feed_forward": "fc2"},
    layer_norms=("layer_norm.weight", "layer_norm.bias"),
    depths={"encoder": "encoder_layers", "decoder": "decoder_layers"},
    width="d_model",
    feed_forward_width="encoder_ffn_dim",
    identity=("model_type", "vocab_size", "d_model", "encoder_layers", "decoder_layers", "encoder_ffn_dim"),
)
