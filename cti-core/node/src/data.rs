//! The data directory: made on the first start, held by one server at a time.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

const OWNER_ONLY_DIR: u32 = 0o700;
const OWNER_ONLY: u32 = 0o600;
pub const NODE_KEY_BYTES: usize = 32;

/// Holds the directory for one server; given back when dropped or when the process ends.
pub struct Lock {
    _file: File,
}

/// Makes the directory where it is missing, for its owner only.
pub fn prepare(dir: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(OWNER_ONLY_DIR)
        .create(dir)
        .with_context(|| format!("the data directory {} can not be made", dir.display()))
}

/// How long a server that is being killed is waited for.
const DYING_MAX: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Refuses a directory that another server holds; one that has not quite ended is waited for.
pub async fn lock(dir: &Path) -> anyhow::Result<Lock> {
    let until = Instant::now() + DYING_MAX;
    loop {
        match try_lock(dir)? {
            Some(lock) => return Ok(lock),
            None if Instant::now() < until => tokio::time::sleep(LOOK_AGAIN).await,
            None => bail!("another zongji serves {}: stop it, or choose another --data", dir.display()),
        }
    }
}

/// `None` where another holds it.
fn try_lock(dir: &Path) -> anyhow::Result<Option<Lock>> {
    let path = dir.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(OWNER_ONLY)
        .open(&path)
        .with_context(|| format!("{} can not be written", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Lock { _file: file })),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("{} can not be locked", path.display()))
        }
    }
}

/// Whether a server holds the directory, be it that it only just starts.
pub fn is_held(dir: &Path) -> bool {
    File::open(dir.join("lock")).is_ok_and(|file| matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)))
}

/// The installation's key, made at random on the first start.
pub fn node_key(path: &Path) -> anyhow::Result<[u8; NODE_KEY_BYTES]> {
    let mut key = [0u8; NODE_KEY_BYTES];
    match File::open(path) {
        Ok(mut file) => {
            let whole = file.read_exact(&mut key).is_ok() && file.read(&mut [0u8; 1])? == 0;
            if !whole {
                bail!("{} is not {NODE_KEY_BYTES} bytes: put the right key back", path.display());
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            random(&mut key)?;
            write_private(path, &key)?;
        }
        Err(error) => return Err(error).with_context(|| format!("{} can not be read", path.display())),
    }
    Ok(key)
}

/// Writes a new file that only its owner can read, whole or not at all.
pub fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let written = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(OWNER_ONLY)
        .open(&part)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&part, path));
    written.with_context(|| format!("{} can not be written", path.display()))
}

/// Randomness of the system.
pub fn random(bytes: &mut [u8]) -> anyhow::Result<()> {
    getrandom::fill(bytes).map_err(|error| anyhow::anyhow!("the system gives no randomness: {error}"))
}

/// A password of 16 letters and digits that are not mistaken for each other: 80 bits.
pub fn random_password() -> anyhow::Result<String> {
    const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz23456789A";
    let mut bytes = [0u8; 16];
    random(&mut bytes)?;
    Ok(bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_key_is_made_once_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("node.key");
        let first = node_key(&path).expect("made");
        assert_eq!(node_key(&path).expect("read"), first);
        assert_ne!(first, [0; NODE_KEY_BYTES]);
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_key_of_another_length_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("node.key");
        for wrong in [31usize, 33] {
            fs::write(&path, vec![1; wrong]).expect("written");
            assert!(node_key(&path).expect_err("refused").to_string().contains("is not 32 bytes"), "{wrong}");
        }
    }

    #[tokio::test]
    async fn one_directory_serves_one_server() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(!is_held(dir.path()));
        let held = lock(dir.path()).await.expect("free");
        assert!(is_held(dir.path()));
        assert!(lock(dir.path()).await.err().expect("held").to_string().contains("another zongji serves"));
        let (next, ()) = tokio::join!(lock(dir.path()), async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            drop(held);
        });
        next.expect("one that is ending is waited for");
    }
}
