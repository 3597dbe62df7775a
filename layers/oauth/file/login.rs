//! What a login and a logout do to the file.

use std::{fmt, io, time::SystemTime};

use serde_json::{Map, Value};

use super::{
    disk, document,
    flight::{Shared, blocking, give_back},
    options::CredentialFileOptions,
};
use crate::oauth::{Fingerprint, clock, server};

/// What a token server answers to a login. `Debug` shows the [`Fingerprint`], never a token.
#[derive(Clone)]
pub struct Tokens {
    answer: Map<String, Value>,
    /// From when its lifetime counts.
    asked: SystemTime,
}

impl Tokens {
    /// The answer of RFC 6749, section 5.1, whose lifetime counts from now; `None` if it is no object with an access token.
    pub fn from_answer(answer: Value) -> Option<Self> {
        let Value::Object(answer) = answer else { return None };
        Self::asked_at(answer, clock::now())
    }

    pub(in crate::oauth) fn asked_at(answer: Map<String, Value>, asked: SystemTime) -> Option<Self> {
        server::text(&answer, "access_token")?;
        Some(Self { answer, asked })
    }

    /// What tells the access token from another without showing it.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(server::text(&self.answer, "access_token").unwrap_or_default().as_bytes())
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tokens").field(&self.fingerprint()).finish()
    }
}

/// What became of a credential file whose tokens were to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// There were none.
    Nothing,
    /// They are gone, and what else was in the file is still there.
    Tokens,
    /// Nothing else was in the file, so it is deleted.
    File,
}

impl Shared {
    pub(super) async fn store(&self, tokens: Tokens) -> io::Result<()> {
        let path = self.options.path.clone();
        // The locks are files in it.
        blocking(move || disk::make_folder(&path)).await?;
        self.locked(move |options| {
            let mut tree = read(options)?.unwrap_or_else(|| Value::Object(Map::new()));
            if !tree.is_object() {
                let aside = disk::set_aside(&options.path)?;
                let (path, aside) = (options.path.display(), aside.display());
                tracing::warn!(%path, %aside, "the credential file held no JSON object; what it held is kept");
                tree = Value::Object(Map::new());
            }
            document::replace(&mut tree, &tokens.answer, options, tokens.asked);
            disk::replace(&options.path, &serde_json::to_vec_pretty(&tree)?)
        })
        .await
    }

    pub(super) async fn remove(&self) -> io::Result<Removed> {
        let path = self.options.path.clone();
        // Without a file, no lock is left beside it.
        if !blocking(move || path.try_exists()).await? {
            return Ok(Removed::Nothing);
        }
        self.locked(|options| {
            let Some(mut tree) = read(options)? else { return Ok(Removed::Nothing) };
            let Some(members) = tree.as_object() else {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "it holds no JSON object"));
            };
            let empty = members.is_empty();
            if !empty && !document::remove(&mut tree, options) {
                return Ok(Removed::Nothing);
            }
            if tree.as_object().is_some_and(Map::is_empty) {
                return disk::delete(&options.path).map(|()| Removed::File);
            }
            disk::replace(&options.path, &serde_json::to_vec_pretty(&tree)?).map(|()| Removed::Tokens)
        })
        .await
    }

    /// Changes the file while nobody else does.
    async fn locked<T: Send + 'static>(
        &self,
        change: impl FnOnce(&CredentialFileOptions) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let locks = self.lock().await.ok_or_else(|| {
            io::Error::new(io::ErrorKind::TimedOut, "another program is refreshing it, and does not finish")
        })?;
        let options = self.options.clone();
        let changed = blocking(move || change(&options)).await;
        give_back(locks).await;
        self.look_soon();
        changed
    }
}

/// What the file holds: `None` if there is nothing, and no object if it is not JSON.
fn read(options: &CredentialFileOptions) -> io::Result<Option<Value>> {
    match disk::read(&options.path) {
        Ok(content) if content.bytes.trim_ascii().is_empty() => Ok(None),
        Ok(content) => Ok(Some(serde_json::from_slice(&content.bytes).unwrap_or(Value::Null))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
