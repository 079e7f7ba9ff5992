//! Tells systemd how the service is doing (sd_notify(3)), where it asks to be told.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The node serves.
pub fn ready() {
    send("READY=1");
}

/// The node is ending.
pub fn stopping() {
    send("STOPPING=1");
}

/// Nobody may have asked, and nobody may be listening: neither is an error.
fn send(state: &str) {
    let Ok(path) = std::env::var("NOTIFY_SOCKET") else { return };
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    if let (Ok(address), Ok(socket)) = (address, UnixDatagram::unbound()) {
        let _ = socket.send_to_addr(state.as_bytes(), &address);
    }
}
