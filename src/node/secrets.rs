//! Secrets come from files, never from the command line, which everybody can read.

use std::path::Path;

use crate::client::read_file;
use crate::config::Config;
use crate::error::StartError;
use crate::session::access::{Keys, Token};
use crate::wire::jwt;

/// Reads the files that the configuration names.
pub fn load(config: &Config) -> Result<Keys, StartError> {
    let publish_token = config.publish_token_file.as_deref().map(|path| {
        let token = Token::new(&read(path)?);
        token.ok_or_else(|| bad(path, "it should hold one line of printable characters"))
    });
    let subscribe_key = config
        .subscribe_key_file
        .as_deref()
        .map(|path| jwt::Key::new(read(path)?.trim().as_bytes()).map_err(|why| bad(path, why)));
    Ok(Keys { publish_token: publish_token.transpose()?, subscribe_key: subscribe_key.transpose()? })
}

fn read(path: &Path) -> Result<String, StartError> {
    read_file(path).map_err(|error| bad(path, &error.to_string()))
}

fn bad(path: &Path, why: &str) -> StartError {
    StartError::Config(format!("{}: {why}", path.display()))
}
