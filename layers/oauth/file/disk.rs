//! The file itself.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use zeroize::Zeroizing;

/// A credential is a few kilobytes; whatever is larger is something else.
const MAX_SIZE: u64 = 1 << 20;

/// A temporary file is there for as long as it takes to write a few kilobytes, even to a slow disk; one that is older has
/// nobody to rename it.
const LEFT_BEHIND: Duration = Duration::from_secs(60);

/// What tells whether a file was touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signature {
    modified: Option<SystemTime>,
    size: u64,
    inode: u64,
}

pub(super) struct Content {
    pub(super) bytes: Zeroizing<Vec<u8>>,
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
    // In one piece, so that no other is left behind when it grows.
    let room = usize::try_from(metadata.len().min(MAX_SIZE) + 1).unwrap_or_default();
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
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
    let target = target(path)?;
    let folder = target.parent().ok_or(io::ErrorKind::NotFound)?;
    remove_left_behind(folder);
    let mut temporary = tempfile::Builder::new().prefix(TEMPORARY.0).suffix(TEMPORARY.1).tempfile_in(folder)?;
    temporary.write_all(bytes)?;
    temporary.as_file().sync_all()?;
    temporary.persist(&target)?;
    sync_folder(folder)
}

/// How the name of a temporary file starts and ends; six characters are between.
const TEMPORARY: (&str, &str) = (".credential-", ".tmp");

/// Removes the temporary files of processes that were killed: there are tokens in them.
fn remove_left_behind(folder: &Path) {
    let is_left_behind = |entry: &fs::DirEntry| {
        let name = entry.file_name();
        let between = name.to_str().and_then(|name| name.strip_prefix(TEMPORARY.0)?.strip_suffix(TEMPORARY.1));
        let age = || entry.metadata().ok().filter(Metadata::is_file)?.modified().ok()?.elapsed().ok();
        between.is_some_and(|between| between.len() == 6) && age().is_some_and(|age| age > LEFT_BEHIND)
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten().filter(is_left_behind) {
        match fs::remove_file(entry.path()) {
            Ok(()) => tracing::info!(path = %entry.path().display(), "removed what a killed process left behind"),
            // Another process was faster, or the folder is not ours. The credential can be written all the same.
            Err(error) => tracing::debug!(path = %entry.path().display(), %error, "cannot remove a temporary file"),
        }
    }
}

/// Where the file is, or will be: a link is followed, even one that leads to nothing yet.
pub(super) fn target(path: &Path) -> io::Result<PathBuf> {
    // So that there is a folder in it, which a bare name has not.
    let mut path = std::path::absolute(path)?;
    // As many as the kernel follows.
    for _ in 0..40 {
        match path.canonicalize() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
        match fs::read_link(&path) {
            Ok(link) => path = path.with_file_name(link),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many links"))
}

/// Makes the folder of the file that is to be at `path`, and those above it, for the owner alone.
pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    let target = target(path)?;
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match target.parent() {
        Some(folder) => builder.recursive(true).create(folder),
        None => Ok(()),
    }
}

/// Moves the file out of the way, to `NAME.bak`, and tells where it is now.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let target = target(path)?;
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".bak");
    let aside = target.with_file_name(name);
    fs::rename(target, &aside)?;
    Ok(aside)
}

/// Deletes the file; a link to it stays.
pub(super) fn delete(path: &Path) -> io::Result<()> {
    let target = target(path)?;
    fs::remove_file(&target)?;
    sync_folder(target.parent().ok_or(io::ErrorKind::NotFound)?)
}

/// Makes a rename or a deletion outlast a crash.
fn sync_folder(folder: &Path) -> io::Result<()> {
    // A folder cannot be opened as a file everywhere; there, the rename itself is durable or nothing is.
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_behind_goes_with_the_next_write() {
        let folder = tempfile::tempdir().unwrap();
        let age = |name: &str, seconds: u64| {
            let file = File::create(folder.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
        };
        age(".credential-aB3xyz.tmp", 61);
        age(".credential-young1.tmp", 1);
        age(".credential-someone-elses.tmp", 3600);
        age("credential-aB3xyz.tmp", 3600);
        age(".credential-aB3xyz", 3600);
        fs::create_dir(folder.path().join(".credential-folder.tmp")).unwrap();

        replace(&folder.path().join("creds.json"), b"{}").unwrap();
        let entries = fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        let kept = [
            ".credential-aB3xyz",
            ".credential-folder.tmp",
            ".credential-someone-elses.tmp",
            ".credential-young1.tmp",
            "credential-aB3xyz.tmp",
            "creds.json",
        ];
        assert_eq!(names, kept);
    }
}
