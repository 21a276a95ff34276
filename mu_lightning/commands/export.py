"""The command `export`: a trained classifier for other programs."""

from pathlib import Path

from mu_lightning.commands.parsing import OneLineErrors, command_parser
from mu_lightning.utilities.files import refuse_existing

FORMATS = ("onnx",)


def parser() -> OneLineErrors:
    """The command's arguments."""
    result = command_parser(
        "export",
        "Writes a trained classifier as an ONNX file with its tokenizer, and checks that ONNX Runtime gives the logits "
        "of PyTorch. Needs the extra onnx: pip install 'mu-lightning[onnx]'.",
    )
    add = result.add_argument
    add("--model-path", type=str, required=True, help="a model folder, or a hub id")
    add("--format", choices=FORMATS, default=FORMATS[0], help="what to write")
    add("--output-dir", type=Path, required=True, help="folder to write; must not exist")
    add("--int8", action="store_true", help="also write model_int8.onnx, with quantized weights")
    return result


def run(argv: list[str]) -> int:
    """Exports; returns the exit status.

    Raises:
        UserError: as of `mu_lightning.export.export_onnx`.
    """
    arguments = parser().parse_args(argv)
    refuse_existing(arguments.output_dir, "an exported model")
    from mu_lightning.export import export_onnx

    difference = export_onnx(arguments.model_path, arguments.output_dir, arguments.int8)
    print(f"exported: {arguments.output_dir} (logits within {difference:.1e} of PyTorch's)")
    return 0
