//! The servers that are measured: Dovetail, and peers when they are installed.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::child::Running;
use crate::cpu::{Sample, resident_bytes};
use crate::load::PATIENCE;
use crate::report::note;

/// Bytes of the file that nginx serves, and of the resource beside it.
pub(crate) const FILE_BYTES: usize = 200;

/// Where that file is.
pub(crate) const FILE_PATH: &str = "/bench/file";

/// Where things are: the server's binary, and a directory on the disk to be measured.
pub(crate) struct Places {
    /// The program `dovetail`.
    pub(crate) dovetail: PathBuf,
    /// Where data directories are made.
    pub(crate) dir: PathBuf,
}

/// A server with a data directory of its own; both end with the handle.
pub(crate) struct Server {
    running: Running,
    dir: TempDir,
}

impl Server {
    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.running.addr
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Waits until it has done what it does after a start and uses no CPU: what it prepares then is not the cost of a request.
    pub(crate) fn settle(self) -> Result<Self> {
        self.rest()?;
        Ok(self)
    }

    /// Waits until it has nothing left to do.
    pub(crate) fn rest(&self) -> Result<()> {
        const LOOK: Duration = Duration::from_millis(100);
        let started = Instant::now();
        let mut before = Sample::take(self.pid())?;
        while started.elapsed() < PATIENCE {
            std::thread::sleep(LOOK);
            let now = Sample::take(self.pid())?;
            if u128::from(before.until(&now)) * 200 < LOOK.as_nanos() {
                break;
            }
            before = now;
        }
        Ok(())
    }

    /// Resident bytes of it, once it has nothing left to do.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        self.rest()?;
        resident_bytes(self.pid())
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(mut self) -> Result<TempDir> {
        let pid = rustix::process::Pid::from_child(self.running.child());
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        self.running.child().wait()?;
        Ok(self.dir)
    }

    /// Kills it.
    pub(crate) fn kill(self) -> TempDir {
        drop(self.running);
        self.dir
    }
}

impl Places {
    /// A directory for one server.
    pub(crate) fn fresh_dir(&self) -> Result<TempDir> {
        fs::create_dir_all(&self.dir)?;
        Ok(tempfile::Builder::new().prefix("dovetail-bench-").tempdir_in(&self.dir)?)
    }

    /// Dovetail on an empty data directory, settled.
    pub(crate) fn dovetail(&self) -> Result<Server> {
        let dir = self.fresh_dir()?;
        self.dovetail_on(dir)?.settle()
    }

    /// Dovetail on this data directory. Returns when it is ready.
    pub(crate) fn dovetail_on(&self, dir: TempDir) -> Result<Server> {
        let addr = free_addr()?;
        let mut command = Command::new(&self.dovetail);
        command.arg("serve").arg("--data").arg(dir.path().join("data")).arg("--listen").arg(addr.to_string());
        let server = start(&mut command, addr, dir, "dovetail")?;
        wait_until_well(addr, "/-/ready")?;
        Ok(server)
    }

    /// nginx with Debian's settings, one worker, and no access log, serving one small file.
    pub(crate) fn nginx(&self) -> Result<Option<Server>> {
        let Some(binary) = installed("nginx") else {
            return Ok(None);
        };
        let (dir, addr) = (self.fresh_dir()?, free_addr()?);
        let root = dir.path().display().to_string();
        let file = dir.path().join("www").join(&FILE_PATH[1..]);
        fs::create_dir_all(file.parent().unwrap_or(dir.path()))?;
        fs::write(&file, vec![b'.'; FILE_BYTES])?;
        open_to_workers(dir.path(), &file)?;
        let configuration = format!(
            "daemon off; worker_processes 1; pid {root}/pid; error_log {root}/error.log;\n\
             events {{ worker_connections 4096; }}\n\
             http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;\n\
             client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fastcgi;\n\
             uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi; default_type text/plain;\n\
             server {{ listen {addr}; root {root}/www; }} }}\n"
        );
        let path = dir.path().join("nginx.conf");
        fs::write(&path, configuration)?;
        start(Command::new(binary).arg("-c").arg(path).arg("-p").arg(&root), addr, dir, "nginx").map(Some)
    }

    /// mosquitto without persistence and without limits on queues.
    pub(crate) fn mosquitto(&self) -> Result<Option<Server>> {
        let Some(binary) = installed("mosquitto") else {
            return Ok(None);
        };
        let (dir, addr) = (self.fresh_dir()?, free_addr()?);
        let user = if rustix::process::getuid().is_root() { "user root\n" } else { "" };
        let configuration = format!(
            "{user}listener {} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nmax_queued_messages 0\n\
             max_inflight_messages 0\npersistence false\nlog_dest none\n",
            addr.port()
        );
        let path = dir.path().join("mosquitto.conf");
        fs::write(&path, configuration)?;
        start(Command::new(binary).arg("-c").arg(path), addr, dir, "mosquitto").map(Some)
    }

    /// Redis that syncs its log before it answers.
    pub(crate) fn redis(&self) -> Result<Option<Server>> {
        let Some(binary) = installed("redis-server") else {
            return Ok(None);
        };
        let (dir, addr) = (self.fresh_dir()?, free_addr()?);
        let mut command = Command::new(binary);
        command
            .args(["--bind", "127.0.0.1", "--port", &addr.port().to_string(), "--dir"])
            .arg(dir.path())
            .args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""])
            .args(["--auto-aof-rewrite-percentage", "0"]);
        start(&mut command, addr, dir, "redis-server").map(Some)
    }

    /// etcd, a cluster of one, as it is by default: durable before it answers.
    pub(crate) fn etcd(&self) -> Result<Option<Server>> {
        let Some(binary) = installed("etcd") else {
            return Ok(None);
        };
        let (dir, addr) = (self.fresh_dir()?, free_addr()?);
        let (clients, peers) = (format!("http://{addr}"), format!("http://{}", free_addr()?));
        let mut command = Command::new(binary);
        command
            .arg("--data-dir")
            .arg(dir.path().join("data"))
            .args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients])
            .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &format!("default={peers}"), "--log-level", "error"]);
        let server = start(&mut command, addr, dir, "etcd")?;
        wait_until_well(addr, "/health")?;
        server.settle().map(Some)
    }

    /// NATS without `JetStream`: nothing is stored.
    pub(crate) fn nats(&self) -> Result<Option<Server>> {
        let Some(binary) = installed("nats-server") else {
            return Ok(None);
        };
        let (dir, addr) = (self.fresh_dir()?, free_addr()?);
        let mut command = Command::new(binary);
        command.args(["--addr", "127.0.0.1", "--port", &addr.port().to_string()]);
        start(&mut command, addr, dir, "nats-server").map(Some)
    }
}

/// The path of a peer's program; says so when it is not there.
fn installed(name: &str) -> Option<PathBuf> {
    let system = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).chain(system).map(|dir| dir.join(name)).find(|path| path.is_file());
    if found.is_none() {
        note(&format!("{name} is not installed: its figures are left out"));
    }
    found
}

/// nginx's worker runs as another user, and temporary directories are closed to others.
fn open_to_workers(dir: &Path, file: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    for path in file.ancestors().take_while(|path| path.starts_with(dir)) {
        let mode = if path == file { 0o644 } else { 0o755 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// An address that was free a moment ago.
fn free_addr() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn start(command: &mut Command, addr: SocketAddr, dir: TempDir, name: &str) -> Result<Server> {
    let log = dir.path().join(format!("{name}.log"));
    let file = fs::File::create(&log)?;
    let child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .with_context(|| format!("{name} could not be started"))?;
    let mut running = Running::wrap(child, addr);
    let started = Instant::now();
    while TcpStream::connect(addr).is_err() {
        if let Some(status) = running.child().try_wait()? {
            bail!("{name} ended with {status}: {}", fs::read_to_string(&log)?.trim());
        }
        if started.elapsed() > PATIENCE {
            bail!("{name} does not listen on {addr}: {}", fs::read_to_string(&log)?.trim());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(Server { running, dir })
}

/// Waits until a server says at `path` that it is ready.
fn wait_until_well(addr: SocketAddr, path: &str) -> Result<()> {
    let started = Instant::now();
    loop {
        let answer = crate::http::get(addr, path)?;
        if answer.status == 200 {
            return Ok(());
        }
        if started.elapsed() > PATIENCE {
            bail!("not ready: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
