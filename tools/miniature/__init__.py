"""The generator of the bundled miniature, a small GLUE over generated English, and the pretraining of the nano T5.

lexicon, language, edits    words, how a clause is put into words, how it is changed or made ungrammatical
sentences, pairs, entailment, transfer    the rows of the tasks
rows    `rows(task, split)`: balanced labels, no duplicates
write    writes the rows:    python -m tools.miniature.write
auxiliary, tokenizer, pretrain    the text and the training of `nano_t5/`:    python -m tools.miniature.pretrain

The declarations of the tasks are in the package, with those of all other tasks.
"""
