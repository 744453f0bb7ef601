"""What the kernels' tests share: the interpreter, ahead-of-time compilation, and counted bytes."""
