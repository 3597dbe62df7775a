//! One refresh at a time, across processes.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    hash::{BuildHasher as _, RandomState},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::disk;

/// What is held while a credential is refreshed; dropping it gives both locks back.
pub(super) struct Locks {
    _vendor: Option<VendorLock>,
    /// The lock goes when the file is closed, even by a crash. The file stays: to delete it would be a race.
    _sidecar: Option<File>,
}

impl Locks {
    /// Both locks, or `None` while someone else has one of them.
    ///
    /// Where a lock cannot be made at all (a read-only folder), it is done without: the token is needed all the same.
    pub(super) fn try_acquire(path: &Path, vendor: Option<(&Path, Duration)>, now: SystemTime) -> Option<Self> {
        let sidecar = match lock_sidecar(path) {
            Ok(file) => Some(file),
            Err(TryLockError::WouldBlock) => return None,
            Err(TryLockError::Error(error)) => {
                tracing::warn!(path = %path.display(), %error, "cannot lock the credential file against other gateways");
                None
            }
        };
        let vendor = match vendor.map(|(path, stale)| VendorLock::try_acquire(path, stale, now)) {
            None => None,
            Some(Ok(Some(lock))) => Some(lock),
            Some(Ok(None)) => return None,
            Some(Err(error)) => {
                tracing::warn!(path = %path.display(), %error, "cannot make the vendor's lock for the credential file");
                None
            }
        };
        Some(Self { _vendor: vendor, _sidecar: sidecar })
    }
}

/// `.NAME.pointsman.lock` beside the file itself, so that all links to the file share it.
fn lock_sidecar(path: &Path) -> Result<File, TryLockError> {
    let target = disk::target(path).map_err(TryLockError::Error)?;
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let sidecar = target.with_file_name(format!(".{name}.pointsman.lock"));
    let file = options.open(sidecar).map_err(TryLockError::Error)?;
    file.try_lock()?;
    Ok(file)
}

/// A lock by the existence of a file, as vendors' clients use it.
struct VendorLock {
    path: PathBuf,
    id: String,
}

impl VendorLock {
    fn try_acquire(path: &Path, stale: Duration, now: SystemTime) -> io::Result<Option<Self>> {
        let id = format!("{}-{}", std::process::id(), unique());
        if create(path, &id)? || (break_stale(path, stale, now)? && create(path, &id)?) {
            Ok(Some(Self { path: path.to_owned(), id }))
        } else {
            Ok(None)
        }
    }
}

impl Drop for VendorLock {
    fn drop(&mut self) {
        // Whoever found it stale may have put a lock of its own there.
        if fs::read(&self.path).is_ok_and(|id| id == self.id.as_bytes())
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the vendor's lock; it will go stale");
        }
    }
}

/// Whether the lock was free and is ours now.
fn create(path: &Path, id: &str) -> io::Result<bool> {
    let mut options = OpenOptions::new();
    options.create_new(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(mut file) => file.write_all(id.as_bytes()).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether the lock is out of the way: it was stale, or is gone anyway.
fn break_stale(path: &Path, stale: Duration, now: SystemTime) -> io::Result<bool> {
    let found = match fs::metadata(path).and_then(|metadata| metadata.modified()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        found => found?,
    };
    // A time far ahead is that of a clock that was wrong; to wait until it is past could take years.
    let age = now.duration_since(found).unwrap_or_else(|error| error.duration());
    if age <= stale {
        return Ok(false);
    }
    set_aside(path, found)
}

/// Whether the lock that was last modified at this time is out of the way.
fn set_aside(path: &Path, found: SystemTime) -> io::Result<bool> {
    let aside = path.with_extension(format!("stale-{}", unique()));
    match fs::rename(path, &aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        renamed => renamed?,
    }
    // Of several that found it stale, one may have moved what another had put there meanwhile.
    let was_stale = fs::metadata(&aside)?.modified()? == found;
    if was_stale {
        tracing::warn!(path = %path.display(), "broke a stale lock");
    } else {
        let _ = fs::hard_link(&aside, path);
    }
    fs::remove_file(&aside)?;
    Ok(was_stale)
}

/// Sixteen digits that no other process or call has.
fn unique() -> String {
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_was_taken_anew_is_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        fs::write(&path, "the new holder's").unwrap();
        let taken = fs::metadata(&path).unwrap().modified().unwrap();
        assert!(!set_aside(&path, taken - Duration::from_secs(60)).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "the new holder's");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

        assert!(set_aside(&path, taken).unwrap());
        assert!(set_aside(&path, taken).unwrap(), "it is gone anyway");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn who_lost_a_lock_leaves_that_of_the_next_holder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        fs::write(&path, "stale").unwrap();
        let later = SystemTime::now() + Duration::from_secs(60);
        let take = || VendorLock::try_acquire(&path, Duration::from_secs(35), later).unwrap();
        // By this clock, every lock is stale.
        let (first, second) = (take().unwrap(), take().unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), second.id);
        drop(first);
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
    }
}
