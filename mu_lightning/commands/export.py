"""The command `export`: exports a classifier for other programs."""

from pathlib import Path

from mu_lightning.commands.parsing import OneLineErrors, command_parser
from mu_lightning.utilities.files import refuse_existing

FORMATS = ("onnx",)


def parser() -> OneLineErrors:
    """Builds the parser."""
    result = command_parser(
        "export",
        "Exports a classifier to ONNX with its tokenizer, and checks that ONNX Runtime yields the same logits "
        "as PyTorch. Needs the extra onnx: pip install 'mu-lightning[onnx]'.",
    )
    add = result.add_argument
    add("--model-path", type=str, required=True, help="model folder or hub id")
    add("--format", choices=FORMATS, default=FORMATS[0], help="output format")
    add("--output-dir", type=Path, required=True, help="output folder; must not exist")
    add("--int8", action="store_true", help="also write model_int8.onnx, with quantized weights")
    return result


def run(argv: list[str]) -> int:
    """Exports; returns the exit status.

    Raises:
        UserError: see `mu_lightning.export.export_onnx`.
    """
    arguments = parser().parse_args(argv)
    refuse_existing(arguments.output_dir, "an exported model")
    from mu_lightning.export import export_onnx

    difference = export_onnx(arguments.model_path, arguments.output_dir, arguments.int8)
    print(f"exported: {arguments.output_dir} (logits within {difference:.1e} of PyTorch's)")
    return 0
