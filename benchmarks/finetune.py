"""Whether TRL trains on what `export_dataset` writes: a tiny model's loss on other users' exchanges, before and after.

    python -m benchmarks.finetune [--users 24] [--steps 30] [--json FILE]

Made-up users talk to a scripted agent: they like short answers and dislike long ones, by a thumb, an edit, or by having
an answer made once more. Three quarters of them are trained on, the others are held out; they ask much the same, so
this proves that the files train, not that a model gets better. Model and tokenizer are built here, with random weights:
nothing is fetched. Ends with an error where a loss on the held-out users does not fall.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from langchain_core.messages import AnyMessage, HumanMessage, RemoveMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore

from langchain_persona import PersonaMemory, create_persona_graph
from langchain_persona.testing import ScriptedChatModel

FORMATS = ("sft", "dpo", "kto")
_TOPICS = ("bread", "soup", "rice", "tea", "cake", "jam", "stew", "pie", "salad", "fish")
_ASKS = ("How is {} made?", "What goes with {}?", "Is {} healthy?", "A recipe for {}?")
_TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def short(topic: str) -> str:
    return f"{topic.capitalize()}: keep it simple."


def long(topic: str) -> str:
    return f"Well, there are many things to say on {topic}, and first of all its long history must be told at length."


def talk(memory: PersonaMemory, users: int, seed: int = 0) -> list[str]:
    """Conversations of some users of eight turns each, each with a verdict; returns who they are."""
    dice, names = random.Random(seed), [f"user-{number}@example.com" for number in range(users)]

    def answer(messages: list[AnyMessage]) -> str:
        topic = next(one for one in _TOPICS if one in messages[-1].text)
        return dice.choice((short, long))(topic)

    builder = create_persona_graph(ScriptedChatModel(answer), memory=memory, reflection="verbatim", memory_tools=False)
    graph = builder.compile(checkpointer=InMemorySaver())
    for name in names:
        said: dict[str, Any] = {}
        for turn, topic in enumerate(dice.choices(_TOPICS, k=8)):
            config: Any = {"configurable": {"user_id": name, "thread_id": f"{name} {turn}"}}
            question = HumanMessage(dice.choice(_ASKS).format(topic), id=f"{name} {turn}")
            said = graph.invoke({"messages": [question]}, config)
            shown, liked = said["messages"][-1], said["messages"][-1].text == short(topic)
            if not liked and turn % 3 == 1:
                feedback: Any = {"accepted": short(topic)}
            else:
                feedback = 1 if liked else -1
            graph.invoke({"persona": {"feedback": feedback}}, config)
            if not liked and turn % 3 == 2:
                graph.update_state(config, {"messages": [RemoveMessage(id=shown.id)]}, as_node="reflect")
                again = graph.invoke({"messages": [question]}, config)["messages"][-1].text
                graph.invoke({"persona": {"feedback": 1 if again == short(topic) else -1}}, config)
    return names


def build_tokenizer(texts: list[str]) -> Any:
    """Words and characters of the texts; the template's tags are tokens of their own."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made, special = Tokenizer(models.BPE(unk_token="<unk>")), ["<unk>", "<pad>", "<end>", "<user>", "<assistant>"]
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=800, special_tokens=special, show_progress=False))
    names = {"unk_token": "<unk>", "pad_token": "<pad>", "eos_token": "<end>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=256, **names)
    tokenizer.chat_template = _TEMPLATE
    return tokenizer


def build_model(tokenizer: Any) -> Any:
    """A Llama of two layers with random weights, always the same."""
    from transformers import LlamaConfig, LlamaForCausalLM, set_seed

    set_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    ends = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    return LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=256, **sizes, **ends))


def train(form: str, files: dict[str, str], steps: int, folder: str) -> dict[str, float]:
    """The loss on the held-out users before and after some steps, and how many rows there were."""
    import trl
    from datasets import load_dataset

    rows = load_dataset("json", data_files=files, cache_dir=f"{folder}/cache")
    texts = [text for split in rows.values() for row in split for text in _texts(row)]
    tokenizer = build_tokenizer(texts)
    kinds = {"sft": (trl.SFTConfig, trl.SFTTrainer), "dpo": (trl.DPOConfig, trl.DPOTrainer)}
    config, trainer = kinds.get(form) or (trl.KTOConfig, trl.KTOTrainer)
    options = {"max_steps": steps, "learning_rate": 3e-3, "per_device_train_batch_size": 16, "use_cpu": True}
    # held-out rows are few: all in one batch, for KTO compares rows of a batch
    options["per_device_eval_batch_size"] = 64
    quiet = {"report_to": "none", "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True, "seed": 0}
    work = trainer(
        model=build_model(tokenizer),
        args=config(output_dir=f"{folder}/{form}", max_length=128, bf16=False, **options, **quiet),
        train_dataset=rows["train"],
        eval_dataset=rows["held_out"],
        processing_class=tokenizer,
        **({} if form == "sft" else {"ref_model": build_model(tokenizer)}),
    )
    before = work.evaluate()["eval_loss"]
    work.train()
    sizes = {f"{name}_rows": float(len(split)) for name, split in rows.items()}
    return {"before": before, "after": work.evaluate()["eval_loss"], **sizes}


def _texts(row: dict[str, Any]) -> list[str]:
    return [one["content"] for value in row.values() if isinstance(value, list) for one in value]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--users", type=int, default=24)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    # before the libraries are loaded: no look at a hub, no report to anybody, no bars
    quiet = ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "HF_DATASETS_DISABLE_PROGRESS_BARS")
    os.environ.update(dict.fromkeys(quiet, "1"))
    found = {}
    with tempfile.TemporaryDirectory() as folder, PersonaMemory(InMemoryStore()) as memory:
        names = talk(memory, given.users)
        splits = {"train": names[: 3 * len(names) // 4], "held_out": names[3 * len(names) // 4 :]}
        for form in FORMATS:
            files = {split: f"{folder}/{form}-{split}.jsonl" for split in splits}
            for split, users in splits.items():
                print(f"{form}, {split}: {memory.export_dataset(files[split], users, format=form)}")
            found[form] = train(form, files, given.steps, folder)
    packages = {name: version(name) for name in ("trl", "transformers", "torch")}
    print("\n| format | rows | held out | loss before | after |\n| --- | ---: | ---: | ---: | ---: |")
    for form, one in found.items():
        rows = f"{one['train_rows']:.0f} | {one['held_out_rows']:.0f}"
        print(f"| {form} | {rows} | {one['before']:.3f} | {one['after']:.3f} |")
    print(", ".join(f"{name} {number}" for name, number in packages.items()))
    if given.json:
        given.json.write_text(json.dumps({"formats": found, "packages": packages}, indent=2), encoding="utf-8")
    risen = [form for form, one in found.items() if not one["after"] < one["before"]]
    if risen:
        print(f"the loss does not fall: {', '.join(risen)}", file=sys.stderr)
    return len(risen)


if __name__ == "__main__":
    sys.exit(main())
