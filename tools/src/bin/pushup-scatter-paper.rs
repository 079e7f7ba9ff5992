//! `pushup-scatter-paper`: the evaluation of the second paper as one command. All of it is in `pushup_tools::scatter`.

use std::process::ExitCode;

fn main() -> ExitCode {
    pushup_tools::scatter::main(std::env::args_os().skip(1).collect())
}
