use std::io;
use std::path::{Component, Path, PathBuf};

use cti_base::{CallId, RecordingId, TenantId, Timestamp};

/// Where recordings live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Made if it is not there.
    pub root: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the tenant id {0:?} is empty or longer than {TENANT_BYTES_MAX} bytes: it can not name a folder")]
    Tenant(String),
    #[error("{0:?} is no path below the recordings' root")]
    Path(String),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

impl StoreError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}

/// A tenant id longer than this is refused: with every byte escaped it must stay below the 255 bytes of a file name.
const TENANT_BYTES_MAX: usize = 80;

/// `TENANT/YYYY/MM/DD/CALL-RECORDING.wav` (UTC day), below the root. Bytes of the tenant's id other than letters, digits,
/// `_` and `-` are written `~xx`, so that no id leaves its folder and no two share one.
pub fn path_of(
    tenant: &TenantId,
    call: CallId,
    recording: RecordingId,
    started: Timestamp,
) -> Result<String, StoreError> {
    let name = tenant.as_str();
    if name.is_empty() || name.len() > TENANT_BYTES_MAX {
        return Err(StoreError::Tenant(name.to_owned()));
    }
    let mut path = String::with_capacity(name.len() + 96);
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => path.push(char::from(byte)),
            other => path.push_str(&format!("~{other:02x}")),
        }
    }
    path.push_str(&format!("/{}/{call}-{recording}.wav", day_folder(started)));
    Ok(path)
}

/// `YYYY/MM/DD` in UTC.
pub(crate) fn day_folder(at: Timestamp) -> String {
    let (year, month, day) = civil_date(at);
    format!("{year:04}/{month:02}/{day:02}")
}

/// The file of a path that the database keeps; refuses absolute paths and `..`.
pub fn resolve(root: &Path, path: &str) -> Result<PathBuf, StoreError> {
    let below = Path::new(path);
    let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
    if path.is_empty() || !plain {
        return Err(StoreError::Path(path.to_owned()));
    }
    Ok(root.join(below))
}

/// Year, month and day in UTC (Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days).
fn civil_date(at: Timestamp) -> (u64, u64, u64) {
    let days = at.as_millis() / 86_400_000 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use cti_base::Rng;

    use super::*;

    #[test]
    fn days_are_named_in_utc() {
        let check = |millis: u64, expect| assert_eq!(civil_date(Timestamp::from_millis(millis)), expect);
        check(0, (1970, 1, 1));
        check(951_782_399_999, (2000, 2, 28));
        check(951_782_400_000, (2000, 2, 29));
        check(951_868_800_000, (2000, 3, 1));
        check(1_795_305_600_000, (2026, 11, 22));
        check(1_798_761_599_999, (2026, 12, 31));
    }

    #[test]
    fn a_tenants_name_never_leaves_its_folder() {
        let now = Timestamp::from_millis(1_795_305_600_000);
        let mut rng = Rng::from_number(1);
        let (call, recording) = (CallId::new(now, &mut rng), RecordingId::new(now, &mut rng));
        let first = |tenant: &str| {
            let path = path_of(&tenant.into(), call, recording, now).expect("a folder");
            assert!(path.ends_with(&format!("/2026/11/22/{call}-{recording}.wav")), "{path}");
            path.split('/').next().expect("a first part").to_owned()
        };
        assert_eq!(first("acme"), "acme");
        assert_eq!(first(".."), "~2e~2e");
        assert_eq!(first("a/b"), "a~2fb");
        assert_ne!(first("a~2fb"), first("a/b"));
        assert!(path_of(&"".into(), call, recording, now).is_err());
        assert!(path_of(&"x".repeat(81).into(), call, recording, now).is_err());
    }

    #[test]
    fn paths_outside_the_root_are_refused() {
        let root = Path::new("/srv/recordings");
        for bad in ["", "/etc/passwd", "../x", "a/../../x", "./a"] {
            assert!(resolve(root, bad).is_err(), "{bad}");
        }
        assert_eq!(resolve(root, "a/b.wav").expect("below"), root.join("a/b.wav"));
    }
}
