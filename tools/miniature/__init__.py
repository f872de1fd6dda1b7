"""The generator of the bundled miniature, a small GLUE over generated English, and the pretraining of the nano models.

lexicon, language, edits    words, how a clause is put into words, how it is changed or made ungrammatical
sentences, pairs, entailment, transfer    the rows of the tasks
rows    `rows(task, split)`: balanced labels, no duplicates
write    writes the rows:    python -m tools.miniature.write
auxiliary, tokenizer    the text that both nano models are pretrained on, and its pieces
pretrain    the training of `nano_t5/`:    python -m tools.miniature.pretrain
pretrain_lm    the training of `nano_lm/`:    python -m tools.miniature.pretrain_lm

The declarations of the tasks are in the package, with those of all other tasks.
"""
