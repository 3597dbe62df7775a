//! The file itself.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read as _, Write as _},
    path::Path,
    time::{Duration, SystemTime},
};

/// A credential is a few kilobytes; whatever is larger is something else.
const MAX_SIZE: u64 = 1 << 20;

/// What tells whether a file was touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signature {
    modified: Option<SystemTime>,
    size: u64,
    inode: u64,
}

pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    /// `None` if the file was touched so lately that a second write could have the same time.
    pub(super) signature: Option<Signature>,
    /// Whether others than the owner may read it.
    pub(super) exposed: bool,
}

impl Signature {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Self { modified: metadata.modified().ok(), size: metadata.len(), inode }
    }

    pub(super) fn of_file(path: &Path) -> io::Result<Self> {
        Ok(Self::of(&fs::metadata(path)?))
    }

    fn if_settled(self) -> Option<Self> {
        // Some file systems keep times to two seconds.
        let age = self.modified?.elapsed().ok()?;
        (age > Duration::from_secs(2)).then_some(self)
    }
}

pub(super) fn read(path: &Path) -> io::Result<Content> {
    // Before it is opened: opening a pipe would wait for its other end.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let mut bytes = Vec::new();
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(Content { bytes, signature: Signature::of(&metadata).if_settled(), exposed: is_exposed(&metadata) })
}

#[cfg(unix)]
fn is_exposed(metadata: &Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0
}

#[cfg(not(unix))]
fn is_exposed(_: &Metadata) -> bool {
    false
}

/// Puts `bytes` in the place of the file's content, all or nothing, readable for the owner alone. A reader never sees a
/// part of it, and it outlasts a crash.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // The link's target is replaced and not the link.
    let target = path.canonicalize()?;
    let folder = target.parent().ok_or(io::ErrorKind::NotFound)?;
    let mut temporary = tempfile::Builder::new().prefix(".credential-").suffix(".tmp").tempfile_in(folder)?;
    temporary.write_all(bytes)?;
    temporary.as_file().sync_all()?;
    temporary.persist(&target)?;
    // A folder cannot be opened as a file everywhere; there, the rename itself is durable or nothing is.
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(())
}
