//! Child processes: floors and prototypes (this binary again), and the servers measured. All end with their handle.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// A running child that listens.
pub(crate) struct Running {
    child: Child,
    /// Where it listens.
    pub(crate) addr: SocketAddr,
}

impl Running {
    /// Starts this binary with hidden arguments; it says on its first line where it listens.
    pub(crate) fn own(arguments: &[&str]) -> Result<Self> {
        let binary = std::env::current_exe().context("where this program lies")?;
        let mut child = Command::new(binary)
            .args(["bench", "internal"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("no standard output")?;
        let mut running = Self { child, addr: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        running.addr = line
            .trim()
            .strip_prefix("listening ")
            .and_then(|addr| addr.parse().ok())
            .with_context(|| format!("{arguments:?} did not say where it listens"))?;
        Ok(running)
    }

    /// Wraps a server that was started otherwise.
    pub(crate) fn wrap(child: Child, addr: SocketAddr) -> Self {
        Self { child, addr }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The child, to look at its exit.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing left to do.
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}
