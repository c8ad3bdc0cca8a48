use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cti_base::TenantId;
use zongji_sql::sessions::TokenHash;

use super::SignedIn;

/// How long the records' last word on a token is taken while they can not be asked: longer than an outage should last, short
/// enough that nobody stays who was signed out elsewhere.
const KNOWN_FOR: Duration = Duration::from_secs(300);
/// Tokens that are remembered.
const KNOWN_MAX: usize = 20_000;

/// Whom the records knew when they were last asked. Used only while they can not be asked.
#[derive(Default)]
pub struct Known(Mutex<HashMap<TokenHash, (SignedIn, Instant)>>);

impl Known {
    /// The records know them.
    pub fn remember(&self, who: &SignedIn, now: Instant) {
        let mut known = self.lock();
        if known.len() >= KNOWN_MAX && !known.contains_key(&*who.session) {
            known.retain(|_, (_, at)| now.duration_since(*at) < KNOWN_FOR);
        }
        if known.len() < KNOWN_MAX || known.contains_key(&*who.session) {
            known.insert(TokenHash::clone(&who.session), (who.clone(), now));
        }
    }

    /// The records do not know the token, or shall not any more.
    pub fn forget(&self, token: &TokenHash) {
        self.lock().remove(token);
    }

    /// All tokens of a user.
    pub fn forget_user(&self, tenant: &TenantId, user: &str) {
        self.lock().retain(|_, (who, _)| who.tenant != *tenant || who.user != user);
    }

    /// Whose token it was, if that was not long ago.
    pub fn recall(&self, token: &TokenHash, now: Instant) -> Option<SignedIn> {
        let known = self.lock();
        known.get(token).filter(|(_, at)| now.duration_since(*at) < KNOWN_FOR).map(|(who, _)| who.clone())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TokenHash, (SignedIn, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cti_switch::config::Role;

    use super::*;

    fn who(user: &str, token: &str) -> SignedIn {
        SignedIn {
            tenant: "acme".into(),
            user: user.into(),
            display: user.into(),
            role: Role::Agent,
            session: Arc::new(TokenHash::of(token)),
            is_program: false,
        }
    }

    #[test]
    fn a_token_is_known_for_a_while_and_not_after_it_was_ended() {
        let (known, start) = (Known::default(), Instant::now());
        let token = TokenHash::of("a");
        assert!(known.recall(&token, start).is_none());
        known.remember(&who("1001", "a"), start);
        known.remember(&who("1001", "b"), start);
        known.remember(&who("1002", "c"), start);
        let late = start + KNOWN_FOR;
        assert_eq!(known.recall(&token, late - Duration::from_millis(1)).map(|who| who.user), Some("1001".into()));
        assert!(known.recall(&token, late).is_none());
        known.forget(&token);
        assert!(known.recall(&token, start).is_none() && known.recall(&TokenHash::of("b"), start).is_some());
        known.forget_user(&"acme".into(), "1001");
        assert!(
            known.recall(&TokenHash::of("b"), start).is_none() && known.recall(&TokenHash::of("c"), start).is_some()
        );
    }

    #[test]
    fn no_more_tokens_than_the_limit_are_remembered() {
        let (known, start) = (Known::default(), Instant::now());
        for n in 0..KNOWN_MAX + 10 {
            known.remember(&who("1001", &n.to_string()), start);
        }
        assert_eq!(known.lock().len(), KNOWN_MAX);
        known.remember(&who("1002", "later"), start + KNOWN_FOR);
        assert_eq!(known.lock().len(), 1);
    }
}
