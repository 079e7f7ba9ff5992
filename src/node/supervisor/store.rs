//! The file of what the next life has to know, and the lock that says whose it is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::error::StartError;
use crate::limits::MEMORY_FILE_BYTES_MAX;
use crate::reactor::supervisor::children::boot;
use crate::supervisor::memory::Memory;

/// A memory's file, which is this process's as long as this is.
pub(super) struct Store {
    path: PathBuf,
    /// The kernel lets go of it when the process ends, however it does.
    _lock: File,
}

impl Store {
    /// Takes `NAME.state` in a directory, which is made if there is none, and reads it.
    pub fn open(directory: &Path, name: &str) -> Result<(Store, Memory), StartError> {
        let wrong = |path: &Path, why: String| StartError::Run(format!("{}: {why}", path.display()));
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|why| wrong(directory, why.to_string()))?;
        let lock_path = directory.join(format!("{name}.lock"));
        let lock = owned().truncate(false).open(&lock_path);
        let lock = lock.map_err(|why| wrong(&lock_path, why.to_string()))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| wrong(&lock_path, "another process holds it: it runs already".to_owned()))?;
        let store = Store { path: directory.join(format!("{name}.state")), _lock: lock };
        let memory = store.read().map_err(|why| wrong(&store.path, why))?;
        Ok((store, memory))
    }

    fn read(&self) -> Result<Memory, String> {
        let mut text = String::new();
        match File::open(&self.path) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Memory::default()),
            file => file.and_then(|file| file.take(MEMORY_FILE_BYTES_MAX).read_to_string(&mut text)),
        }
        .map_err(|why| why.to_string())?;
        let json = serde_json::from_str(&text).ok();
        let memory = json.and_then(|json| Memory::parse(&json));
        let mut memory = memory.ok_or("it is not what was written: remove it if nothing of it runs")?;
        if memory.boot != boot() {
            // The machine was started anew, and these processes were not.
            memory.processes.clear();
        }
        Ok(memory)
    }

    /// What writes it.
    pub fn writer(&self) -> impl FnMut(Memory) -> io::Result<()> + use<> {
        let path = self.path.clone();
        let aside = path.with_extension("new");
        move |mut memory: Memory| {
            memory.boot = boot();
            // Written aside and renamed: whenever this process is killed, one of the two is whole.
            let mut file = owned().truncate(true).open(&aside)?;
            file.write_all(memory.to_json().to_string().as_bytes())?;
            file.sync_data()?;
            fs::rename(&aside, &path)
        }
    }

    /// There is nothing to know any more.
    pub fn forget(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn owned() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}
