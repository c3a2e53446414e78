//! Child processes that end with the process that started them.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

/// Number of lines of a log that a failure shows.
const TAIL_LINES: usize = 40;

/// A child with its output in a file. It is killed when this is dropped.
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts the child. Its stdout and stderr are appended to `log`.
    pub(crate) fn start(name: &'static str, command: &mut Command, log: &Path) -> Self {
        let open =
            || File::options().create(true).append(true).open(log).expect("a log file in the temp folder");
        let child = command
            .stdin(Stdio::null())
            .stdout(open())
            .stderr(open())
            .spawn()
            .unwrap_or_else(|why| panic!("cannot start {name} ({:?}): {why}", command.get_program()));
        Self { name, child, log: log.to_owned() }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it has written so far.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines of the output.
    pub(crate) fn tail(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// Its status. `None` while it runs.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the status of a child")
    }

    /// Sends SIGKILL: it has no chance to finish anything.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        let ended = self.child.try_wait().ok().flatten();
        self.kill();
        if failed {
            let state = ended.map_or_else(|| "running".to_owned(), |status| format!("ended, {status}"));
            eprintln!("--- {} ({state}), the end of its output:\n{}\n---", self.name, self.tail());
        }
    }
}
