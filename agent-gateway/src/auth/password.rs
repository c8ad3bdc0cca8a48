use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

/// OWASP Password Storage Cheat Sheet, argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// A longer password is refused: it is no password, and hashing it costs.
pub const PASSWORD_BYTES_MAX: usize = 1_024;
/// No one's hash, of the cost of everyone's: an unknown user takes as much time as a known one.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// Passwords verified at once: each takes 19 MiB and a core for some tens of milliseconds.
const VERIFYING_MAX: usize = 2;
/// A sign-in waits this long for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    #[error("a password has 1 to {PASSWORD_BYTES_MAX} bytes")]
    Length,
    #[error("the password can not be hashed: {0}")]
    Hash(String),
    #[error("too many people sign in at this moment: try again")]
    Busy,
}

/// The PHC string (argon2id) under which a password is kept. Takes some tens of milliseconds of a core: on an async thread
/// call it through `spawn_blocking`.
pub fn hash_password(password: &str) -> Result<String, PasswordError> {
    if password.is_empty() || password.len() > PASSWORD_BYTES_MAX {
        return Err(PasswordError::Length);
    }
    let hash = hasher()?.hash_password(password.as_bytes()).map_err(|e| PasswordError::Hash(e.to_string()))?;
    Ok(hash.to_string())
}

/// Whether the password is the one of the PHC string; false for a string that is none.
pub fn verify_password(password: &str, hash: &str) -> bool {
    let Ok(parsed) = PasswordHash::new(hash) else { return false };
    password.len() <= PASSWORD_BYTES_MAX && Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok()
}

fn hasher() -> Result<Argon2<'static>, PasswordError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|e| PasswordError::Hash(e.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// Verifies passwords on threads that may block, few at a time.
pub struct Verifier {
    turns: Arc<Semaphore>,
}

impl Verifier {
    pub fn new() -> Self {
        Self { turns: Arc::new(Semaphore::new(VERIFYING_MAX)) }
    }

    /// `hash` is `None` for a user who is unknown, disabled or has no password.
    pub async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, PasswordError> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| NOBODY.to_owned());
        let verified = self.with_turn(move || verify_password(&password, &hash)).await?;
        Ok(verified && known)
    }

    pub async fn hash(&self, password: String) -> Result<String, PasswordError> {
        self.with_turn(move || hash_password(&password)).await?
    }

    async fn with_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let turn = tokio::time::timeout(TURN_WITHIN, self.turns.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(PasswordError::Busy) };
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(turn);
            result
        });
        done.await.map_err(|e| PasswordError::Hash(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_verifies_against_its_own_hash_only() {
        let hash = hash_password("correct horse").expect("hashes");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(verify_password("correct horse", &hash));
        assert!(!verify_password("wrong horse", &hash));
        assert!(!verify_password("correct horse", "not a hash"));
        assert!(hash_password("").is_err() && hash_password(&"x".repeat(PASSWORD_BYTES_MAX + 1)).is_err());
    }

    #[tokio::test]
    async fn nobody_has_no_password() {
        let nobody = PasswordHash::new(NOBODY).expect("a hash");
        let costs = Params::try_from(&nobody).expect("parameters");
        assert_eq!((costs.m_cost(), costs.t_cost(), costs.p_cost()), (MEMORY_KIB, PASSES, LANES));
        let verifier = Verifier::new();
        assert!(!verifier.verify("anything".into(), None).await.expect("verifies"));
    }
}
