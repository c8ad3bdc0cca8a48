use std::fmt;

use serde::{Deserialize, Serialize};

/// Private data (a caller's number, card data) that does not print. `expose` is the one way to the value.
///
/// It serialises as the value itself: the journal, the records and the desk hold it; logs do not.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pii<T>(T);

impl<T> Pii<T> {
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    pub fn into_inner(self) -> T {
        self.0
    }

    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[private]")
    }
}

impl<T> fmt::Display for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[private]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_data_does_not_print() {
        let number = Pii::new("13800138000");
        assert!(!format!("{number} {number:?}").contains("138"));
        assert_eq!(*number.expose(), "13800138000");
    }
}
