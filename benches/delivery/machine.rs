//! What the figures were measured on, and what else it was doing.

use std::fs;

/// The machine and its load when the bench began.
pub struct Machine {
    /// Processors.
    pub cpus: usize,
    /// The processors' model.
    pub model: String,
    /// The kernel's release.
    pub kernel: String,
    /// Load averages of 1, 5 and 15 minutes at the start.
    pub load: String,
}

impl Machine {
    /// Looks at the machine now.
    pub fn look() -> Machine {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model =
            info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
        Machine {
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            model: model.map_or("unknown", |(_, model)| model).to_owned(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            load: load(),
        }
    }

    /// One line for a person.
    pub fn line(&self) -> String {
        format!("{} × {}, Linux {}, load average {}", self.cpus, self.model, self.kernel, self.load)
    }
}

/// Load averages of 1, 5 and 15 minutes.
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}
