//! `pushup-paper`: the evaluation of the paper as one command. All of it is in `pushup_tools::paper`.

use std::process::ExitCode;

fn main() -> ExitCode {
    pushup_tools::paper::main(std::env::args_os().skip(1).collect())
}
