"""`foreshock train` and `foreshock demo`. Nothing heavy is imported before they run."""

from pathlib import Path
from typing import Annotated

import typer


def train(
    ctx: typer.Context,
    connection: Annotated[
        str | None,
        typer.Option(help="residual, laurel, hc, mhc, mhc_v4 or mhc_lite (default: mhc)."),
    ] = None,
    layer_connections: Annotated[
        str | None, typer.Option(help="A connection for each layer, such as 'hc*4,mhc*20'.")
    ] = None,
    num_blocks: Annotated[
        int, typer.Option("--blocks", help="Transformer blocks, two sub-layers each; sets the size.")
    ] = 12,
    learning_rate: Annotated[float, typer.Option("--lr", help="Peak learning rate.")] = 3e-3,
    seed: Annotated[int, typer.Option(help="Seed of the weights and of the text's order.")] = 0,
    num_steps: Annotated[int, typer.Option("--steps", help="Optimizer steps.")] = 400,
    warmup_steps: Annotated[
        int | None,
        typer.Option("--warmup", help="Steps of linear warm-up (default: 20, fewer in a shorter run)."),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Windows in a batch.")] = 8,
    width: Annotated[int | None, typer.Option(help="Width (default: by --blocks, 256 for 12).")] = None,
    context: Annotated[int | None, typer.Option(help="Bytes in a window (default: by --blocks).")] = None,
    num_streams: Annotated[
        int | None, typer.Option("--streams", help="Residual streams (default: 4; residual 1).")
    ] = None,
    exit: Annotated[str, typer.Option("--exit", help="How streams become one: sum or v4_head.")] = "sum",
    num_experts: Annotated[
        int, typer.Option("--experts", help="Experts in the place of each MLP; 0 for none.")
    ] = 0,
    top_k: Annotated[int | None, typer.Option(help="Experts that a token sees (default: 2).")] = None,
    num_hash_layers: Annotated[
        int | None,
        typer.Option(
            "--hash-layers", help="First MoE layers that route by the token alone (default: 0; V4: 3)."
        ),
    ] = None,
    swiglu_clamp: Annotated[
        float | None, typer.Option(help="Where SwiGLU's inputs are cut (default: nowhere; V4: 10).")
    ] = None,
    qk_norm: Annotated[bool, typer.Option("--qk-norm", help="Normalise queries and keys.")] = False,
    precision: Annotated[str, typer.Option(help="Of the residual stream: fp32, bf16 or fp16.")] = "fp32",
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Compute streams again in the backward pass: less memory.")
    ] = False,
    clip: Annotated[float, typer.Option(help="Largest gradient norm; 0 switches clipping off.")] = 1.0,
    loss_scale: Annotated[
        float | None,
        typer.Option(help="Factor on the loss in the backward pass only (default: 1024 for fp16, else 1)."),
    ] = None,
    optimizer: Annotated[
        str, typer.Option(help="adamw, or muon: matrices by Muon and the rest by AdamW, as V4 has it.")
    ] = "adamw",
    betas: Annotated[str, typer.Option(help="AdamW's two, with a comma.")] = "0.9,0.95",
    adam_eps: Annotated[float, typer.Option(help="AdamW's epsilon.")] = 1e-8,
    router_lr_factor: Annotated[float, typer.Option(help="Factor on the learning rate of routers.")] = 1.0,
    undecayed: Annotated[
        list[str] | None,
        typer.Option(
            "--no-decay", help="Part of the names of parameters that do not decay, 'head.' say; repeatable."
        ),
    ] = None,
    schedule: Annotated[str, typer.Option(help="After the warm-up: cosine or constant.")] = "cosine",
    rewarms: Annotated[
        list[str] | None,
        typer.Option("--rewarm", help="STEP:WARMUP:FACTOR at which the schedule begins anew, repeatable."),
    ] = None,
    accumulate: Annotated[int, typer.Option(help="Parts of a batch whose gradients are added up.")] = 1,
    z_loss: Annotated[float, typer.Option(help="Coefficient of the mean squared log Z; 0 for none.")] = 0.0,
    batch_ramp: Annotated[
        str | None, typer.Option(help="WINDOWS:STEPS: from so few windows to --batch-size in so many steps.")
    ] = None,
    mix: Annotated[
        list[str] | None,
        typer.Option(
            help="The domains' weights, code=0.7,prose=0.3; from a step on, 500:code=1; repeatable."
        ),
    ] = None,
    mix_change: Annotated[str, typer.Option(help="Between the steps of --mix: step or linear.")] = "step",
    faults: Annotated[
        list[str] | None,
        typer.Option(
            "--fault", help="A planted fault, 'bad_batch step=100' say, repeatable; see the room's README."
        ),
    ] = None,
    anticipatory: Annotated[
        str,
        typer.Option(help="Experts chosen by older parameters: off, always, or reactive, after an alarm."),
    ] = "off",
    lag: Annotated[int | None, typer.Option(help="Steps by which they are older (default: 4).")] = None,
    period_steps: Annotated[
        int | None,
        typer.Option("--period", help="Steps from an alarm until routing is as usual (default: 200)."),
    ] = None,
    rollback_steps: Annotated[
        int | None,
        typer.Option(
            "--rollback", help="Steps to go back by on an alarm, or some more (default: 20; 0: none)."
        ),
    ] = None,
    checkpoints: Annotated[Path | None, typer.Option(help="Folder that checkpoints are kept in.")] = None,
    checkpoint_every: Annotated[
        int | None, typer.Option(help="Steps between checkpoints (default: 100 where they are kept).")
    ] = None,
    keep: Annotated[int, typer.Option(help="Checkpoints to keep, the newest.")] = 3,
    resume: Annotated[
        Path | None,
        typer.Option(help="A checkpoint, or a folder whose newest is meant; all other options as before."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu or cuda (default: cuda where there is one).")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(help="A text domain: PATH or NAME=PATH, repeatable (default: Python's own text)."),
    ] = None,
    url: Annotated[str | None, typer.Option(help="The collector (default: FORESHOCK_URL).")] = None,
    mode: Annotated[str | None, typer.Option(help="Of the probe: online, offline or disabled.")] = None,
    project: Annotated[str | None, typer.Option(help="Project of the run (default: default).")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run (default: connection, seed).")] = None,
    group: Annotated[str | None, typer.Option(help="Group of the run.")] = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", help="A tag of the run, repeatable.")] = None,
    run_id: Annotated[str | None, typer.Option(help="Identity of the run (default: a new one).")] = None,
    directory: Annotated[
        Path | None, typer.Option(help="The spool's folder (default: FORESHOCK_DIR).")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads (default: PyTorch's).")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="No progress bar; one JSON object at the end.")
    ] = False,
) -> None:
    """Train a reference model on real text, with the probe attached."""
    from foreshock.reference_models.train_command import run_train
    from foreshock.reference_models.train_options import TrainOptions

    raise typer.Exit(run_train(TrainOptions.of_command(ctx.params), as_json=as_json))


def demo(
    directory: Annotated[
        Path | None, typer.Option(help="Where everything is kept (default: a new folder of ~/.local/share).")
    ] = None,
    port: Annotated[int, typer.Option(help="The collector's port; 0 takes a free one.")] = 0,
    leave: Annotated[
        bool, typer.Option("--exit", help="End after the summary, do not keep serving.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="No table; the summary as one JSON object.")
    ] = False,
) -> None:
    """Watch HC fail and mHC live: three seeds each and a residual control, on real text."""
    from foreshock.reference_models.demo import run_demo

    raise typer.Exit(run_demo(directory, port=port, leave=leave, as_json=as_json))
