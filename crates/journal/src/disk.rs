//! The disk behind a small seam, so that a faulty one can stand in for it.
//!
//! Two calls go through it per append, each of them a system call, so it is dispatched at run time:
//! the cost does not show, and no type parameter climbs through the engine.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// One directory with files in it. What an operation did is durable only after the sync that
/// belongs to it: contents after [`StorageFile::sync`], names after [`Disk::sync_dir`].
pub trait Disk: Send + Sync + fmt::Debug {
    /// Makes the file `name`, empty; one that exists is emptied.
    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>>;

    /// Opens the file `name` for reading and writing.
    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>>;

    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Gives the file `from` the name `to`, whose file ends if there is one.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes the name `name`. Whoever has the file open keeps it.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the names durable.
    fn sync_dir(&self) -> io::Result<()>;

    /// What errors call the file `name`.
    fn path(&self, name: &str) -> PathBuf;
}

/// One open file.
pub trait StorageFile: Send + Sync + fmt::Debug {
    /// The size.
    fn bytes(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset`; the end of the file inside it is an error.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`. After an error any part of them may be written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Sets space for `bytes` aside, where the file system can, so that its lack shows early.
    fn reserve(&self, bytes: u64) -> io::Result<()>;

    /// Makes contents and size durable.
    fn sync(&self) -> io::Result<()>;
}

/// A directory of the operating system.
#[derive(Debug)]
pub(crate) struct OsDisk {
    dir: PathBuf,
    handle: File,
}

#[derive(Debug)]
struct OsFile(File);

impl OsDisk {
    /// Makes the directory durably if it is missing, and opens it.
    pub(crate) fn new(dir: &Path) -> io::Result<Self> {
        let missing = dir.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).count();
        // What clients store is nobody else's to read.
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        // The name of a directory is durable once the directory above it is synced.
        for made in dir.ancestors().take(missing) {
            let above = made.parent().filter(|above| !above.as_os_str().is_empty());
            File::open(above.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(Self { dir: dir.to_path_buf(), handle: File::open(dir)? })
    }
}

impl Disk for OsDisk {
    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        Ok(Box::new(OsFile(options.open(self.path(name))?)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path(name))?;
        Ok(Box::new(OsFile(file)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            // A name that is not UTF-8 is not one of ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

impl StorageFile for OsFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn reserve(&self, bytes: u64) -> io::Result<()> {
        let reserve = || rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), 0, bytes);
        match rustix::io::retry_on_intr(reserve) {
            // The zeros that follow find out there.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
            done => Ok(done?),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// Names that end so are being written; an opening removes them.
pub(crate) const ASIDE: &str = ".new";

/// Makes the file `name` with `bytes` in it durably: there whole or not at all, also after a crash.
pub(crate) fn write_aside(disk: &dyn Disk, name: &str, bytes: &[u8]) -> io::Result<()> {
    let aside = format!("{name}{ASIDE}");
    let file = disk.create(&aside)?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    disk.rename(&aside, name)?;
    disk.sync_dir()
}

/// Whether `error` says that there is no space, rather than that the disk is broken.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
