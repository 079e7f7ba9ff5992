//! Secrets come from files, never from the command line, which everybody can read.

use std::path::Path;

use crate::client::read_file;
use crate::config::Config;
use crate::error::StartError;
use crate::limits::CLUSTER_KEY_BYTES_MIN;
use crate::session::access::{Keys, Token};
use crate::wire::jwt;

/// Reads the files that the configuration names: a secret a line, so that a new one can be
/// added before the old one goes.
pub fn load(config: &Config) -> Result<Keys, StartError> {
    let token = |line: &str| Token::new(line).ok_or("a token is one line of printable characters");
    Ok(Keys {
        publish_tokens: load_lines(config.publish_token_file.as_deref(), token)?,
        subscribe_keys: load_lines(config.subscribe_key_file.as_deref(), |line| {
            jwt::Key::new(line.as_bytes())
        })?,
    })
}

/// What all nodes of the cluster share: the whole file but the white space around it; empty if
/// no file is named.
pub fn load_cluster_key(config: &Config) -> Result<Vec<u8>, StartError> {
    load_key(config.cluster_key_file.as_deref())
}

/// The same of a file that is named, if one is.
pub fn load_key(path: Option<&Path>) -> Result<Vec<u8>, StartError> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let content = read(path)?;
    let key = content.trim().as_bytes();
    if key.len() < CLUSTER_KEY_BYTES_MIN {
        return Err(bad(path, &format!("a cluster's key has at least {CLUSTER_KEY_BYTES_MIN} bytes")));
    }
    Ok(key.into())
}

/// One secret for each line that is not empty; a file that is named has at least one.
fn load_lines<T>(
    path: Option<&Path>,
    parse: impl Fn(&str) -> Result<T, &'static str>,
) -> Result<Vec<T>, StartError> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let content = read(path)?;
    let lines = content.lines().map(str::trim).filter(|line| !line.is_empty());
    let secrets: Vec<T> = lines.map(parse).collect::<Result<_, _>>().map_err(|why| bad(path, why))?;
    if secrets.is_empty() { Err(bad(path, "there is no secret in it")) } else { Ok(secrets) }
}

fn read(path: &Path) -> Result<String, StartError> {
    read_file(path).map_err(|error| bad(path, &error.to_string()))
}

fn bad(path: &Path, why: &str) -> StartError {
    StartError::Config(format!("{}: {why}", path.display()))
}
