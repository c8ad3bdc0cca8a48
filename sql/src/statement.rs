/// One SQL text, the same for both databases, with `$1` for its arguments.
#[derive(Debug)]
pub struct Statement {
    /// `module::NAME`, for errors.
    pub name: &'static str,
    pub sql: &'static str,
}

/// Declares a module's statements as constants and lists them in its `ALL`, so that one test prepares every one of them on
/// both databases.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:expr;)*) => {
        $($(#[$doc])* const $name: crate::statement::Statement =
            crate::statement::Statement { name: concat!(module_path!(), "::", stringify!($name)), sql: $sql };)*
        pub(crate) const ALL: &[crate::statement::Statement] = &[$($name),*];
    };
}
pub(crate) use statements;

/// A statement's argument. Both databases hold nothing but text and 64-bit numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    Text(Option<String>),
    Int(Option<i64>),
}

impl From<&str> for Arg {
    fn from(v: &str) -> Self {
        Self::Text(Some(v.to_owned()))
    }
}
impl From<String> for Arg {
    fn from(v: String) -> Self {
        Self::Text(Some(v))
    }
}
impl From<&String> for Arg {
    fn from(v: &String) -> Self {
        Self::Text(Some(v.clone()))
    }
}
impl From<Option<String>> for Arg {
    fn from(v: Option<String>) -> Self {
        Self::Text(v)
    }
}
impl From<&Option<String>> for Arg {
    fn from(v: &Option<String>) -> Self {
        Self::Text(v.clone())
    }
}
impl From<Option<&str>> for Arg {
    fn from(v: Option<&str>) -> Self {
        Self::Text(v.map(str::to_owned))
    }
}
impl From<i64> for Arg {
    fn from(v: i64) -> Self {
        Self::Int(Some(v))
    }
}
impl From<u64> for Arg {
    /// Times and counts; beyond 2^63 there is none.
    fn from(v: u64) -> Self {
        Self::Int(Some(i64::try_from(v).unwrap_or(i64::MAX)))
    }
}
impl From<Option<u64>> for Arg {
    fn from(v: Option<u64>) -> Self {
        Self::Int(v.map(|v| i64::try_from(v).unwrap_or(i64::MAX)))
    }
}
impl From<bool> for Arg {
    fn from(v: bool) -> Self {
        Self::Int(Some(i64::from(v)))
    }
}
impl From<cti_base::Timestamp> for Arg {
    fn from(v: cti_base::Timestamp) -> Self {
        Self::from(v.as_millis())
    }
}

macro_rules! arg_from_name {
    ($($name:ty),*) => {$(
        impl From<&$name> for Arg {
            fn from(v: &$name) -> Self {
                Self::Text(Some(v.to_string()))
            }
        }
        impl From<Option<&$name>> for Arg {
            fn from(v: Option<&$name>) -> Self {
                Self::Text(v.map(|v| v.to_string()))
            }
        }
    )*};
}
arg_from_name!(cti_base::TenantId, cti_base::AgentName, cti_base::QueueName, cti_base::CallId, cti_base::RecordingId);

/// `args![tenant, id]`: the arguments of a statement in order.
macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$(crate::statement::Arg::from($value)),*] };
}
pub(crate) use args;
