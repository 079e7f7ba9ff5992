//! The server that the tests measure: the one of this checkout, built now if it is not.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Its program, beside the tools' own.
pub fn pushup() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let profile = Path::new(env!("CARGO_BIN_EXE_pushup-load")).parent().expect("a directory");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the project");
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--locked", "--bin", "pushup"])
            .args(profile.ends_with("release").then_some("--release"))
            .current_dir(root)
            .env("CARGO_TARGET_DIR", profile.parent().expect("a target directory"))
            .output()
            .expect("cargo runs");
        let said = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "cargo build --bin pushup failed: these tests need it\n{said}");
        profile.join("pushup")
    })
}
